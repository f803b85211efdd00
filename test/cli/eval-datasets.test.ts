// adaptvis eval on data sets beyond the paper's, made of the embedded benchmark's pictures: a TSV and LLaVA's lines.
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { at } from "../../src/errors.ts";
import { adaptvis, jsonOf, newFolder, ownLines, removeFolders, tinySpatial } from "./command.ts";

const DATA = join(tinySpatial, "benchmark", "test");
const METHODS = ["--method", "greedy", "--method", "scaling:factor=0.5"];
const OPTIONS = ["left", "right", "on", "under"];
/** Picture, category and right answer of each row; rows 1 and 2 are two questions about one picture. */
const ROWS = [
  ["book_left_of_mug.jpeg", "horizontal", "A"],
  ["book_right_of_mug.jpeg", "horizontal", "B"],
  ["book_right_of_mug.jpeg", "horizontal", "D"],
  ["book_on_mug.jpeg", "vertical", "C"],
  ["book_under_mug.jpeg", "vertical", "D"],
] as const;

type Line = Readonly<Record<string, unknown>>;

let folder = "";
let tsv = "";
let whole: readonly Line[] = [];
let result: Line = {};

beforeAll(async () => {
  folder = await newFolder();
  tsv = join(folder, "bench.tsv");
  const rows: string[] = [["index", "image", "question", "A", "B", "C", "D", "answer", "category"].join("\t")];
  for (const [id, [picture, category, answer]] of ROWS.entries()) {
    const base64 = (await readFile(join(DATA, "controlled_images", picture))).toString("base64");
    const question = "Where is the book in relation to the mug? Answer with left, right, on or under.";
    rows.push([String(id), id === 2 ? "1" : base64, question, ...OPTIONS, answer, category].join("\t"));
  }
  await writeFile(tsv, `${rows.join("\n")}\n`);
  const out = join(folder, "whole");
  result = jsonOf(
    await adaptvis("eval", "--dataset", "vlmevalkit", "--questions", tsv, ...METHODS, "--out", out, "--json"),
  );
  whole = await linesOf(join(out, "results.jsonl"));
});
afterAll(removeFolders);

async function linesOf(path: string): Promise<readonly Line[]> {
  const lines = (await readFile(path, "utf8")).trimEnd().split("\n");
  return lines.map((line) => ({ ...(JSON.parse(line) as object), time_ms: undefined }));
}

describe("a TSV with pictures in it", () => {
  test("is answered by the letters and texts of each row's options, as the pictures in files are", async () => {
    expect(whole).toHaveLength(10);
    const [greedy] = whole;
    expect(greedy).toMatchObject({ doc_id: 0, method: "greedy", target: "A", image: "0" });
    expect(greedy?.input).toContain("\nOptions:\nA. left\nB. right\nC. on\nD. under\nPlease select the correct answer");
    expect(Object.keys(greedy?.option_logprobs as object)).toEqual(["a", "b", "c", "d"]);
    expect(new Set(whole.map(({ doc_hash }) => doc_hash)).size).toBe(5);
    // tiny-spatial was not trained on this prompt: its answers are words, which count by the options' texts.
    const word = (line: Line) => String(line.filtered_resps).toLowerCase(); // a list of one text
    const verdicts = whole.map((line) => OPTIONS.indexOf(word(line)) === "ABCD".indexOf(String(line.target)));
    expect(whole.every((line) => OPTIONS.includes(word(line)))).toBe(true);
    expect(whole.map((line) => (line.verdicts as Line).paper)).toEqual(verdicts);
    const rightOf = (method: string, category?: string) =>
      whole.filter(
        (line, index) =>
          verdicts[index] &&
          line.method === method &&
          (category === undefined || ROWS[Number(line.doc_id)]?.[1] === category),
      ).length;
    const { runs } = at(result.files as readonly Line[], 0);
    for (const run of runs as readonly Line[]) {
      const method = String(run.run);
      const right = rightOf(method);
      expect(run).toMatchObject({
        n: 5,
        majority: { answer: "d", share: { count: 2, of: 5 } },
        rules: {
          paper: {
            individual: { count: right, of: 5, fraction: right / 5 },
            byRelation: {
              horizontal: { count: rightOf(method, "horizontal"), of: 3 },
              vertical: { count: rightOf(method, "vertical"), of: 2 },
            },
          },
        },
        metrics: { rules: { paper: { individual: { numRows: 5, numClusters: 4 } } } },
      });
    }
    expect(result).toMatchObject({
      ...{ dataSet: "vlmevalkit", split: { name: "all", numExpected: 5 }, published: null, notes: [] },
      bootstrap: { clusters: expect.stringContaining("all questions about one picture") },
    });
    expect(await readFile(join(folder, "whole", "summary.json"), "utf8")).toContain("VLMEvalKit's rules");
  });

  test("goes on with what is missing, and its lines can be judged anew, compared and merged", async () => {
    const [out, merged] = [join(folder, "again"), join(folder, "merged")];
    await cp(join(folder, "whole"), out, { recursive: true });
    const text = await readFile(join(out, "results.jsonl"), "utf8");
    await writeFile(join(out, "results.jsonl"), text.slice(0, text.lastIndexOf("\n", text.length - 2) + 9));
    const again = ["eval", "--dataset", "tsv", "--questions", tsv, ...METHODS, "--out", out];
    expect((await adaptvis(...again)).stderr).toContain("4 of 5 questions are answered already");
    expect(await linesOf(join(out, "results.jsonl"))).toEqual(whole);

    const results = join(out, "results.jsonl");
    for (const questions of [tsv, join(out, "questions.jsonl")]) {
      const rescored = await adaptvis(
        ...["eval", "rescore", "--dataset", "vlmevalkit", "--questions", questions, "--answers", results, "--json"],
      );
      const [file] = jsonOf(rescored).files as readonly Line[];
      expect(file).toEqual({ ...(result.files as readonly Line[])[0], file: results });
    }
    const [a, b] = ["--method-a", "--method-b"];
    const compared = jsonOf(
      await adaptvis("eval", "compare", out, out, a, "greedy", b, "scaling:factor=0.5", "--json"),
    );
    expect(compared).toMatchObject({ dataSet: "vlmevalkit", n: 5, difference: { numClusters: 4 } });
    const merging = await adaptvis("eval", "merge", join(folder, "whole"), out, "--out", merged, "--json");
    expect(jsonOf(merging)).toMatchObject({ numQuestions: 5, numExpected: 5 });
    const manifest = JSON.parse(await readFile(join(merged, "manifest.json"), "utf8"));
    expect(manifest.about).toMatchObject({ questionFile: join(merged, "questions.jsonl"), convertedFrom: tsv });
    expect(await linesOf(join(merged, "results.jsonl"))).toEqual(whole);
  });

  test.each([
    [
      "has a row without a picture",
      ["9\t\tIs it?\t\t\t\t\tYes\t"],
      /1 of 6 pictures are missing: of question 5, which names none/,
    ],
    [
      "has damaged base64",
      [`9\t${"A".repeat(99)}\tIs it?\t\t\t\t\tYes\t`],
      /bench\.tsv:7: expected image to be base64/,
    ],
    [
      "has a row without an answer",
      ["9\t1\tIs it?\t\t\t\t\t\t"],
      /bench\.tsv, line 7: expected a value in column answer/,
    ],
  ])("that %s is refused", async (_, rows, message) => {
    const path = join(await newFolder(), "bench.tsv");
    const text = await readFile(tsv, "utf8");
    await writeFile(path, `${text}${rows.join("\n")}\n`);
    const refused = await adaptvis(
      ...["eval", "--dataset", "vlmevalkit", "--questions", path, ...METHODS, "--out", join(folder, "whole")],
    );
    expect(refused.ending).toBe(1);
    expect(ownLines(refused.stderr).at(-1)).toMatch(message);
  });

  test("may have two pictures in a row, which are asked about together", async () => {
    const [, first = "", second = ""] = (await readFile(tsv, "utf8")).split("\n").map((line) => line.split("\t")[1]);
    const path = join(await newFolder(), "bench.tsv");
    const header = "index\timage\tquestion\tanswer\n";
    await writeFile(path, `${header}7\t['${first}', '${second}']\tIs it a mug?\tYes\n`);
    const out = join(folder, "two");
    const options = ["--method", "greedy", "--max-new-tokens", "1", "--out", out];
    const asked = await adaptvis("eval", "--dataset", "vlmevalkit", "--questions", path, ...options);
    expect(asked.ending).toBe(0);
    const [line] = await linesOf(join(out, "results.jsonl"));
    expect(String(line?.input).split("<image>")).toHaveLength(3);
    expect(line?.image_share).toHaveLength(4); // layers
  });

  test("has neither prompts of authors nor a usual name", async () => {
    const asked = ["eval", "--dataset", "vlmevalkit", "--out", join(folder, "none")];
    const prompts = await adaptvis(...asked, "--questions", tsv, "--prompts", "authors");
    expect(prompts.ending).toBe(2);
    expect(ownLines(prompts.stderr).at(-1)).toMatch(/--prompts authors: vlmevalkit has no prompts of its authors/);
    const name = await adaptvis(...asked, "--data-dir", DATA);
    expect(ownLines(name.stderr).at(-1)).toMatch(/--questions is missing/);
  });
});

test("LLaVA's lines are answered for LLaVA's own scorers, and judged where they have labels", async () => {
  const questions = join(folder, "labels.json");
  const lines = [
    { question_id: 1, image: "book_on_mug.jpeg", text: "Is there a book?", label: "yes" },
    { question_id: 2, image: "book_on_mug.jpeg", text: "Is there a cat?", label: "no" },
    { question_id: 3, image: "book_under_mug.jpeg", text: "Where is the book?" },
    { question_id: 4, image: "missing.jpeg", text: "Is there a cat?", label: "no" },
  ];
  await writeFile(questions, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  const out = join(folder, "llava");
  const asked = ["eval", "--dataset", "llava", "--questions", questions, "--data-dir", join(DATA, "controlled_images")];
  const run = await adaptvis(...asked, "--skip-missing", "--max-new-tokens", "8", ...METHODS, "--out", out, "--json");
  expect(run.stderr).toContain("missing.jpeg is missing: its question is left out");
  const samples = await linesOf(join(out, "results.jsonl"));
  const texts = samples.filter(({ method }) => method === "scaling:factor=0.5").map((line) => line.filtered_resps);
  expect(await linesOf(join(out, "answers-scaling_factor=0.5.jsonl"))).toEqual(
    lines.slice(0, 3).map(({ question_id, text: prompt }, index) => ({
      ...{ question_id, prompt, text: at(texts[index] as readonly string[], 0), time_ms: undefined },
      ...{ answer_id: expect.stringMatching(/^[0-9a-f]{22}$/), model_id: "tiny-spatial" },
      metadata: { method: "scaling:factor=0.5" },
    })),
  );
  expect(samples.at(-1)).toMatchObject({
    target: "",
    option_logprobs: {},
    verdicts: { paper: null, firstToken: null },
  });
  // "Left" and the like are yes by LLaVA's rule.
  expect(jsonOf(run)).toMatchObject({
    notes: ["Questions without a right answer, whose answers no rule judges: 1."],
    numSkipped: 1,
    files: [
      {
        n: 3,
        runs: [{ rules: { paper: { individual: { count: 1, of: 2 } } }, benchmark: { Overall: { yesRatio: 1 } } }, {}],
      },
    ],
  });
});
