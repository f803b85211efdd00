// The parts of a run that need no model: its part of the questions, what is kept of cut results, where a row's picture is.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import { DATA_SETS, dataSetNamed } from "../../src/evaluate/datasets/registry.ts";
import { readDataFolder } from "../../src/evaluate/run/data-folder.node.ts";
import { checkpointFingerprint } from "../../src/evaluate/run/fingerprint.node.ts";
import { wholeQuestions } from "../../src/evaluate/run/run-folder.node.ts";
import { clusterShard, kubernetesShard, parseShard, shardOf, slurmShard } from "../../src/evaluate/run/shards.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "adaptvis-evaluate-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe("a part of the questions", () => {
  test.each([
    ["0/1", { index: 0, count: 1 }],
    ["3/4", { index: 3, count: 4 }],
    [" 1/2 ", { index: 1, count: 2 }],
  ])("%s", (text, shard) => expect(parseShard(text)).toEqual(shard));

  test.each(["4/4", "1/0", "1", "a/b", "-1/3", "1/3/5", ""])("%j is refused", (text) => {
    expect(() => parseShard(text)).toThrow(InputError);
  });

  test("all parts together are the whole, each id once, as even as can be", () => {
    const ids = [2, 3, 5, 7, 11, 13, 17];
    const parts = [0, 1, 2].map((index) => shardOf(ids, { index, count: 3 }));
    expect(parts).toEqual([
      [2, 7, 17],
      [3, 11],
      [5, 13],
    ]);
    expect(parts.flat().sort((a, b) => a - b)).toEqual(ids);
  });

  // What sbatch sets for --array=0-3, 1-7:2 and 1,3,7.
  const array = (ID: string, COUNT: string, MIN: string, MAX: string, STEP?: string) =>
    slurmShard({
      SLURM_ARRAY_TASK_ID: ID,
      SLURM_ARRAY_TASK_COUNT: COUNT,
      SLURM_ARRAY_TASK_MIN: MIN,
      SLURM_ARRAY_TASK_MAX: MAX,
      SLURM_ARRAY_TASK_STEP: STEP,
    });

  test("is that of a Slurm array task", () => {
    expect(slurmShard({})).toBeUndefined();
    expect(array("2", "4", "0", "3", "1")).toEqual({ index: 2, count: 4 });
    expect(array("2", "4", "0", "3")).toEqual({ index: 2, count: 4 });
    expect(array("5", "4", "1", "7", "2")).toEqual({ index: 2, count: 4 });
  });

  test("cannot be told from an uneven Slurm array", () => {
    expect(() => array("3", "3", "1", "7", "1")).toThrow(
      /not evenly spaced: use an array such as 0-9, or give --shard/,
    );
    expect(() => slurmShard({ SLURM_ARRAY_TASK_ID: "1" })).toThrow(InputError);
  });

  test("is that of a pod of a Kubernetes indexed job whose manifest sets the number of pods", () => {
    const pod = { JOB_COMPLETION_INDEX: "2", JOB_COMPLETIONS: "4" };
    expect(kubernetesShard({ JOB_COMPLETIONS: "4" })).toBeUndefined();
    expect(kubernetesShard(pod)).toEqual({ index: 2, count: 4 });
    expect(clusterShard(pod)).toEqual({ index: 2, count: 4, of: "Kubernetes indexed job" });
    expect(clusterShard({})).toBeUndefined();
    const task = {
      SLURM_ARRAY_TASK_ID: "0",
      SLURM_ARRAY_TASK_COUNT: "2",
      SLURM_ARRAY_TASK_MIN: "0",
      SLURM_ARRAY_TASK_MAX: "1",
    };
    expect(clusterShard(task)).toEqual({ index: 0, count: 2, of: "Slurm array" });
  });

  test.each([undefined, "", "2", "four"])("cannot be told from a Kubernetes indexed job of %j pods", (count) => {
    expect(() => kubernetesShard({ JOB_COMPLETION_INDEX: "2", JOB_COMPLETIONS: count })).toThrow(
      /^This is pod 2 of a Kubernetes indexed job of .*: give --shard \$\(JOB_COMPLETION_INDEX\)\/n in the manifest, or set JOB_COMPLETIONS/,
    );
  });
});

describe("results that were cut", () => {
  const line = (id: number, method: string) => `${JSON.stringify({ doc_id: id, method, filtered_resps: ["é"] })}\n`;
  const whole = line(0, "a") + line(0, "b") + line(4, "a") + line(4, "b");
  const read = (text: string) => wholeQuestions(text, "results.jsonl", ["a", "b"]);

  test("are kept up to the last whole question, wherever the cut is", () => {
    const bytes = Buffer.from(whole);
    const middle = Buffer.byteLength(line(0, "a") + line(0, "b"));
    for (let length = 0; length <= bytes.length; length++) {
      const { answered, keptBytes } = read(bytes.subarray(0, length).toString("utf8"));
      const expected = length === bytes.length ? bytes.length : length >= middle ? middle : 0;
      expect(keptBytes, `cut after ${length} bytes`).toBe(expected);
      expect([...answered]).toEqual(expected === 0 ? [] : expected === middle ? [0] : [0, 4]);
    }
  });

  test.each([
    ["a line that is not JSON", `{"doc\n${whole}`, /line 1: expected an answer/],
    ["a line of another method", line(0, "c") + whole, /line 1: expected an answer .* of a, b, got/],
    ["a question twice", whole + line(4, "a") + line(4, "b"), /line 5: question 4 .* occurs twice/],
    [
      "a question that was left unfinished",
      line(3, "a") + whole,
      /line 2: question 0 follows an unfinished question 3/,
    ],
  ])("%s is refused with its line", (_, text, message) => {
    expect(() => read(text)).toThrow(InputError);
    expect(() => read(text)).toThrow(message);
  });
});

describe("pictures", () => {
  const place = { file: "annotations.json", id: 7 };
  test.each([
    ["Controlled_A", { image_path: "data/controlled_images/mug_on_dog.jpeg" }, "controlled_images/mug_on_dog.jpeg"],
    ["Controlled_B", { image_path: "controlled_clevr/mug_behind_dog.jpeg" }, "controlled_clevr/mug_behind_dog.jpeg"],
    ["COCO_one", [397133, "right", "wrong"], "val2017/000000397133.jpg"],
    ["COCO_two", ["13", "right", "wrong"], "val2017/000000000013.jpg"],
    ["VG_two", [2412, "right", "wrong"], "vg_images/2412.jpg"],
    ["VSR", { image: "000000085637.jpg" }, "val2017/000000085637.jpg"],
  ])("of %s", (name, row, path) => expect(dataSetNamed(name).pictures(row, place)).toContain(path));

  const annotated = DATA_SETS.filter(({ files }) => files.annotations.length > 0);
  test.each(annotated.map(({ name }) => name))("of a broken row of %s are refused with the row", (name) => {
    for (const row of [null, 5, {}, [], ["x"], { image_path: 5, image: 5 }]) {
      expect(() => dataSetNamed(name).pictures(row, place)).toThrow(/^annotations\.json, row 7: expected/);
    }
  });
});

describe("a data folder", () => {
  const questions = (count: number) =>
    Array.from({ length: count }, (_, id) =>
      JSON.stringify({
        id,
        question: "Where is the mug in relation to the dog? Answer with left, right, on or under.",
        answer: ["On"],
      }),
    ).join("\n");
  const annotations = (count: number) =>
    JSON.stringify(Array.from({ length: count }, (_, id) => ({ image_path: `data/controlled_images/${id}.jpeg` })));

  async function made(name: string, files: Readonly<Record<string, string>>): Promise<string> {
    const path = join(folder, name);
    for (const [file, text] of Object.entries(files)) {
      await mkdir(join(path, file, ".."), { recursive: true });
      await writeFile(join(path, file), text);
    }
    return path;
  }

  test("is read under the names of the authors, with the pictures that are there", async () => {
    const path = await made("authors", {
      "prompts/Controlled_Images_A_with_answer_four_options.jsonl": questions(2),
      "data/controlled_images_dataset.json": annotations(2),
      "controlled_images/1.jpeg": "",
    });
    const data = await readDataFolder(dataSetNamed("Controlled_A"), { folder: path });
    expect(data.questions).toHaveLength(2);
    expect(data.pictures).toEqual([
      { name: "data/controlled_images/0.jpeg", path: undefined },
      { name: "controlled_images/1.jpeg", path: join(path, "controlled_images/1.jpeg") },
    ]);
  });

  test.each([
    ["no-questions", {}, /has no file with Controlled_A's questions: expected Controlled_A_questions\.jsonl or/],
    ["no-annotations", { "Controlled_A_questions.jsonl": questions(1) }, /Controlled_A's annotations: expected/],
    [
      "other-length",
      { "Controlled_A_questions.jsonl": questions(3), "Controlled_A_annotations.json": annotations(2) },
      /has 3 questions, but .* has 2 rows/,
    ],
    [
      "broken-line",
      {
        "Controlled_A_questions.jsonl": `${questions(1)}\n{"id": 1, "quest`,
        "Controlled_A_annotations.json": annotations(2),
      },
      /Controlled_A_questions\.jsonl, line 2/,
    ],
    [
      "broken-json",
      { "Controlled_A_questions.jsonl": questions(1), "Controlled_A_annotations.json": "[{" },
      /Controlled_A_annotations\.json is not JSON/,
    ],
  ])("%s is refused", async (name, files: Readonly<Record<string, string>>, message) => {
    const path = await made(name, { ...files, other: "" });
    await expect(readDataFolder(dataSetNamed("Controlled_A"), { folder: path })).rejects.toThrow(message);
  });

  test("that does not exist is refused", async () => {
    const reading = readDataFolder(dataSetNamed("VSR"), { folder: join(folder, "nowhere") });
    await expect(reading).rejects.toThrow(/nowhere of --data-dir does not exist/);
  });
});

test("a checkpoint's fingerprint follows the contents of the files that answers depend on, and no others", async () => {
  const path = join(folder, "checkpoint");
  await mkdir(path);
  const seen = new Set<string>();
  const write = async (name: string, text: string) => {
    await writeFile(join(path, name), text);
    const before = seen.size;
    seen.add(await checkpointFingerprint(path));
    return seen.size > before;
  };
  expect(await write("config.json", "{}")).toBe(true);
  expect(await write("model.safetensors", "weights")).toBe(true);
  expect(await write("model.safetensors", "Weights")).toBe(true);
  expect(await write("README.md", "about")).toBe(false);
  expect(await write("tokenizer.json", "{}")).toBe(true);
  // Beyond the size that is read whole: the last byte, which is in a block.
  const large = Buffer.alloc(64 * 2 ** 20 + 5);
  await writeFile(join(path, "large.safetensors"), large);
  const one = await checkpointFingerprint(path);
  large[large.length - 1] = 1;
  await writeFile(join(path, "large.safetensors"), large);
  expect(await checkpointFingerprint(path)).not.toBe(one);
});
