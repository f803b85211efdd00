// adaptvis eval and eval merge: a run that is killed or divided is the run that was not.
import { spawn } from "node:child_process";
import { appendFile, cp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { adapterOfEnvironment } from "../setup/device.ts";
import { adaptvis, jsonOf, newFolder, ownLines, removeFolders, root, tinySpatial } from "./command.ts";

const DATA = join(tinySpatial, "benchmark", "test");
const ASKED = ["eval", "--dataset", "Controlled_A", "--data-dir", DATA, "--split", "all", "--limit", "6"];
const METHODS = ["--method", "greedy", "--method", "adaptvis:alpha1=0.5:alpha2=1.5:beta=1", "--method", "pai"];

let folder = "";
/** The lines of a run that nothing interrupted, without their times. */
let whole: readonly Readonly<Record<string, unknown>>[] = [];
let result: Readonly<Record<string, unknown>> = {};

beforeAll(async () => {
  folder = await newFolder();
  const out = join(folder, "whole");
  result = jsonOf(await adaptvis(...ASKED, ...METHODS, "--out", out, "--json"));
  whole = await linesOf(out);
});
afterAll(removeFolders);

async function linesOf(run: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const text = await readFile(join(run, "results.jsonl"), "utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line) => ({ ...(JSON.parse(line) as object), time_ms: undefined }));
}

/** Runs the command and kills it with SIGKILL once the results have grown beyond so many bytes. */
async function killed(out: string, bytes: number): Promise<void> {
  const program = [
    join(root, "tools", "adaptvis.mjs"),
    "--adapter",
    adapterOfEnvironment(),
    ...ASKED,
    ...METHODS,
    "--out",
    out,
  ];
  const child = spawn(process.execPath, program, { stdio: "ignore" });
  let isOver = false;
  child.on("close", () => {
    isOver = true;
  });
  while (!isOver) {
    const { size } = await stat(join(out, "results.jsonl")).catch(() => ({ size: 0 }));
    if (size > bytes) child.kill("SIGKILL"); // false where it has ended by itself
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

describe("a run", () => {
  test("has a line per question and method in lmms-eval's form, and judges them as rescore does", async () => {
    expect(whole).toHaveLength(18);
    const [greedy, gated] = whole;
    expect(greedy).toMatchObject({
      doc_id: 0,
      method: "greedy",
      target: "Left",
      filtered_resps: ["Left"],
      image: "controlled_images/book_left_of_mug.jpeg",
      factor: 1,
      verdicts: { paper: true, exactlyOne: true, firstToken: true, wholeString: true },
    });
    expect(String(greedy?.input)).toContain("<image>");
    expect(greedy?.image_share).toHaveLength(4);
    expect(new Set(whole.map(({ doc_hash }) => doc_hash)).size).toBe(6);
    // 0.99995 is 1.00 where the gate compares it, which is not below beta.
    expect(greedy?.confidence).toBeLessThan(1);
    expect(gated).toMatchObject({ factor: 1.5, confidence: greedy?.confidence });
    expect(whole[2]).toMatchObject({ method: "pai", confidence: greedy?.confidence });
    // The data folder's own boxes: a book and a mug, seen by 4 layers of 4 heads.
    expect(greedy?.box_overlap).toMatchObject({ num_boxes: 2, mass: expect.anything(), cosine: expect.anything() });
    const overlap = greedy?.box_overlap as { readonly mass: readonly (readonly number[])[] } | undefined; // see above
    expect(overlap?.mass.map((heads) => heads.filter((share) => share > 0 && share < 1).length)).toEqual([4, 4, 4, 4]);
    expect(greedy).toMatchObject({ image_map: { layer: 2, rows: 8, columns: 8 }, unmodified_map: null });
    expect(gated).toMatchObject({ image_map: { layer: 2 }, unmodified_map: greedy?.image_map });
    const options = greedy?.option_logprobs as Record<string, number>; // by option
    expect(Object.keys(options)).toEqual(["left", "right", "on", "under"]);
    expect(Math.max(...Object.values(options))).toBe(options.left);

    const results = join(folder, "whole", "results.jsonl");
    const questions = join(DATA, "Controlled_A_questions.jsonl");
    const rescored = await adaptvis(
      ...["eval", "rescore", "--dataset", "Controlled_A", "--split", "all", "--questions", questions],
      ...["--answers", results, "--json"],
    );
    const { files, mcNemar } = jsonOf(rescored);
    const summary: unknown = JSON.parse(await readFile(join(folder, "whole", "summary.json"), "utf8"));
    expect(summary).toMatchObject({ files, mcNemar });
    expect(result).toMatchObject({ files, mcNemar, numSkipped: 0 });
  });

  test("goes on where it was killed, and becomes the run that was not", async () => {
    const out = join(folder, "killed");
    for (const bytes of [0, 3_000, 9_000]) {
      await killed(out, bytes);
      // What a crash of the machine may leave besides.
      await appendFile(join(out, "results.jsonl"), '{"doc_id":5,"method":"gre');
    }
    const last = await adaptvis(...ASKED, ...METHODS, "--out", out);
    expect(last.stderr).toMatch(/\d of 6 questions are answered already/);
    expect(await linesOf(out)).toEqual(whole);
    const again = await adaptvis(...ASKED, ...METHODS, "--out", out);
    expect(again.stderr).toContain("6 of 6 questions are answered already");
    expect(await linesOf(out)).toEqual(whole);
  });

  test("in three parts, one of them unfinished and then answered twice, is merged to the same", async () => {
    const parts = [0, 1, 2].map((index) => join(folder, `part-${index}`));
    for (const [index, out] of parts.entries()) {
      expect((await adaptvis(...ASKED, ...METHODS, "--shard", `${index}/3`, "--out", out)).ending).toBe(0);
    }
    const [first = "", second = "", third = ""] = parts;
    const copy = join(folder, "part-2-again");
    await cp(third, copy, { recursive: true });
    const text = await readFile(join(third, "results.jsonl"), "utf8");
    await writeFile(join(third, "results.jsonl"), text.slice(0, text.lastIndexOf("\n", text.length - 2) + 7));
    const out = join(folder, "merged");
    const unfinished = await adaptvis("eval", "merge", first, second, third, "--out", out);
    expect(ownLines(unfinished.stderr)).toContainEqual(expect.stringContaining("5 of 6 questions are answered"));
    const merged = jsonOf(await adaptvis("eval", "merge", first, second, third, copy, "--out", out, "--json"));
    expect(merged).toMatchObject({ numQuestions: 6, numExpected: 6, files: [{ n: 6, runs: expect.anything() }] });
    expect(await linesOf(out)).toEqual(whole);
  });

  test("takes settings that depend on the prompt's length, and a part without questions", async () => {
    const out = join(folder, "rows");
    const asked = await adaptvis(
      ...ASKED,
      "--limit",
      "1",
      "--method",
      "scaling:factor=0.5:rows=3",
      "--no-boxes",
      "--map-layer",
      "1",
      "--out",
      out,
    );
    expect(asked.ending).toBe(0);
    expect((await linesOf(out))[0]).toMatchObject({
      factor: 0.5,
      settings: { rows: { last: 3 } },
      box_overlap: null,
      image_map: { layer: 1 },
    });
    const empty = join(folder, "empty");
    const part = ["--limit", "1", "--method", "greedy", "--shard", "1/2", "--out", empty];
    const none = await adaptvis(...ASKED, ...part, "--json");
    expect(jsonOf(none)).toEqual({ out: empty, numSkipped: 0 });
    expect(none.stderr).toContain("no question is in this part");
    const refused = await adaptvis(...ASKED, "--method", "scaling:layers=99", "--out", join(folder, "layers"));
    expect(refused.ending).toBe(2);
    expect(ownLines(refused.stderr).at(-1)).toMatch(/layers/);
  });

  test("is analysed layer by layer, with and without boxes", async () => {
    const run = join(folder, "whole");
    const { stdout } = await adaptvis("eval", "analyze", run);
    expect(stdout).toContain(
      "boxes (of the named objects, scale 1, any number per question): 6 of 6 questions; without: 0",
    );
    expect(stdout).toMatch(/^layer +share +right +wrong +entropy .* mass .* AUROC +cosine/m);
    expect(stdout).toContain("greedy: 6 right, 0 wrong");
    expect(stdout).toMatch(/^auroc: Area under the ROC curve/m);
    const shares = whole.flatMap(({ method, image_share: share }) =>
      method === "pai" ? [Number((share as readonly number[])[3])] : [],
    );
    const layer = {
      layer: 3,
      imageShare: { mean: expect.closeTo(shares.reduce((sum, share) => sum + share, 0) / 6, 12) },
    };
    const written: unknown = JSON.parse(await readFile(join(run, "analysis.json"), "utf8"));
    expect(written).toMatchObject({
      boxes: { numQuestions: 6, numWithBoxes: 6, numWithoutBoxes: 0 },
      methods: [{ method: "greedy" }, {}, { method: "pai", layers: [{}, {}, {}, layer] }],
    });

    const out = join(folder, "rows");
    const both = await adaptvis("eval", "analyze", run, out, "--rule", "exactlyOne", "--json");
    expect(jsonOf(both)).toMatchObject({
      runs: [
        { rule: "exactlyOne", boxes: { numWithBoxes: 6 } },
        { boxes: null, methods: [{ numRight: 1, layers: [{ overlap: null }, {}, {}, {}] }] },
      ],
    });
    const corpus = join(folder, "counts.json");
    await writeFile(corpus, '{"left": 1, "right": 2, "on": 3, "under": 4}');
    const counted = jsonOf(
      await adaptvis("eval", "analyze", out, "--corpus-counts", corpus, "--min-count", "1", "--json"),
    );
    expect(counted).toMatchObject({ runs: [{ methods: [{ familiarity: [{ relations: ["left"], count: 1 }, {}] }] }] });
    const strange = await adaptvis("eval", "analyze", folder);
    expect(strange.ending).toBe(1);
    expect(ownLines(strange.stderr).at(-1)).toContain("has no manifest.json: expected the folder of a run");
  });

  test.each([
    ["another method", [...METHODS, "--method", "scaling"], /methods .* instead of/],
    ["another setting", [...METHODS.slice(0, -1), "pai:alpha=0.3"], /methods .* instead of/],
    ["weights in another form", [...METHODS, "--dtype", "q8"], /dtype "f16" instead of "q8"/],
    ["other questions", [...METHODS, "--only", "3-5"], /ids .* instead of/],
    [
      "other prompts",
      [...METHODS, "--prompts", "template", "--chat-template", "vicuna"],
      /prompts "authors" instead of "template".*chatTemplate undefined instead of "[0-9a-f]+/,
    ],
    ["another length", [...METHODS, "--max-new-tokens", "5"], /maxNewTokens 100 instead of 5/],
    [
      "other boxes and maps",
      [...METHODS, "--map-layer", "0", "--box-scale", "1.2"],
      /mapLayer 2 instead of 0, boxes \{"scale":1,.* instead of \{"scale":1.2,/,
    ],
    ["a part of the questions", [...METHODS, "--shard", "0/2"], /shard null instead of \{"index":0,"count":2\}/],
  ])("with %s does not go on in the same folder", async (_, options, message) => {
    const refused = await adaptvis(...ASKED, ...options, "--out", join(folder, "whole"));
    expect(refused.ending).toBe(1);
    expect(ownLines(refused.stderr).at(-1)).toMatch(message);
    expect(await linesOf(join(folder, "whole"))).toEqual(whole);
  });

  test("waits for no other process, and takes over from one that is gone", async () => {
    const out = join(folder, "whole");
    await writeFile(join(out, "lock"), JSON.stringify({ pid: process.pid, host: hostname() }));
    const refused = await adaptvis(...ASKED, ...METHODS, "--out", out);
    expect(refused.ending).toBe(1);
    expect(ownLines(refused.stderr).at(-1)).toContain(`process ${process.pid} on ${hostname()} is writing to this run`);
    await writeFile(join(out, "lock"), JSON.stringify({ pid: 2 ** 30, host: hostname() }));
    expect((await adaptvis(...ASKED, ...METHODS, "--out", out)).ending).toBe(0);
  });

  test("names missing pictures, and leaves their questions out only when told to", async () => {
    const data = join(folder, "data");
    await cp(DATA, data, { recursive: true, filter: (path) => !/(clevr|val2017|COCO|_B_)/.test(path) });
    await rm(join(data, "controlled_images", "book_right_of_mug.jpeg"));
    const asked = ["eval", "--dataset", "Controlled_A", "--data-dir", data, "--split", "all", "--limit", "2"];
    const refused = await adaptvis(...asked, "--method", "greedy", "--out", join(folder, "missing"));
    expect(refused.ending).toBe(1);
    expect(ownLines(refused.stderr)).toEqual([
      "adaptvis: 1 of 2 pictures are missing: controlled_images/book_right_of_mug.jpeg; put them into --data-dir, or give --skip-missing to leave their questions out.",
    ]);
    const skipping = await adaptvis(
      ...asked,
      "--method",
      "greedy",
      "--skip-missing",
      "--out",
      join(folder, "missing"),
      "--json",
    );
    expect(jsonOf(skipping)).toMatchObject({ numSkipped: 1, files: [{ n: 1 }] });
    expect(skipping.stderr).toContain("controlled_images/book_right_of_mug.jpeg is missing: its question is left out");
  });
});

test.each([
  [["eval"], /--dataset is missing/],
  [["eval", "--dataset", "Controlled_C"], /data-dir|Controlled_C/],
  [["eval", "--dataset", "Controlled_C", "--data-dir", DATA, "--out", "x"], /unknown data set "Controlled_C"/],
  [[...ASKED, "--out", "x", "--method", "adaptvi"], /method must be one of greedy,/],
  [
    [...ASKED, "--out", "x", "--method", "adaptvis:gamma=1"],
    /expected SETTING=VALUE with a setting of adaptvis \(alpha1,/,
  ],
  [[...ASKED, "--out", "x", "--method", "scaling:factor=-1"], /--method scaling:factor=-1: factor: expected a number/],
  [[...ASKED, "--out", "x", "--method", "pai", "--method", "pai"], /--method pai is given twice/],
  [[...ASKED, "--out", "x", "--factors", "0.5,2,0.5"], /--factors: scaling:factor=0\.5 is given twice/],
  [[...ASKED, "--out", "x", "--shard", "3/3"], /expected i\/n/],
  [[...ASKED, "--out", "x", "--box-scale", "0"], /--box-scale.*Expected a number that is above 0/],
  [[...ASKED, "--out", "x", "--no-boxes", "--max-boxes", "2"], /--max-boxes needs boxes: give --boxes/],
  [["eval", "analyze", "x", "--min-count", "3"], /--min-count needs the counts/],
  [["eval", "analyze", "x", "--boxes", "boxes.json"], /unknown option '--boxes'/],
  [[...ASKED, "--out", "x", "--only", "4000"], /question 4000 is not in the all part/],
])("%j is wrong usage", async (args, message) => {
  const { ending, stderr } = await adaptvis(...args);
  expect(ending).toBe(2);
  expect(ownLines(stderr).at(-1)).toMatch(message);
});

test.each(["eval", "eval run", "eval merge", "eval analyze"])("%s --help", async (command) => {
  const { ending, stdout } = await adaptvis(...command.split(" "), "--help");
  expect(ending).toBe(0);
  expect(stdout).toContain(`Usage: adaptvis ${command}`);
});
