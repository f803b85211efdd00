// Data sets beyond the paper's: VLMEvalKit's TSV, LLaVA's lines and lists of pictures, with rows of our own.
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { rescoreText } from "../../src/cli/rescore-text.ts";
import { at } from "../../src/errors.ts";
import type { BenchmarkAnswer, Question } from "../../src/evaluate/datasets/dataset.ts";
import { readQuestions } from "../../src/evaluate/datasets/question-files.ts";
import { dataSetNamed } from "../../src/evaluate/datasets/registry.ts";
import { clusterOf, describeClusters } from "../../src/evaluate/metrics/question-clusters.ts";
import { rescore } from "../../src/evaluate/rescore.ts";
import { writeAnswerFiles } from "../../src/evaluate/run/answer-files.node.ts";
import { type DataFolder, isMissing, readDataFolder, readPictures } from "../../src/evaluate/run/data-folder.node.ts";
import { optionsNamed, RULES } from "../../src/evaluate/verdicts.ts";
import { DEFAULT_ADAPTVIS } from "../../src/interventions/adaptvis.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "adaptvis-datasets-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Bytes that are no picture, whose base64 is longer than the index of another row can be. */
const bytesOf = (seed: number) => Buffer.from(Array.from({ length: 60 }, (_, index) => (seed * 7 + index * 31) % 256));
const base64Of = (seed: number) => bytesOf(seed).toString("base64");

async function read(name: string, text: string | Buffer, dataSet = "vlmevalkit"): Promise<DataFolder> {
  await writeFile(join(folder, name), text);
  return readDataFolder(dataSetNamed(dataSet), { folder, questions: join(folder, name) });
}

const HEADER = "index\timage\tquestion\tA\tB\tC\tanswer\tcategory\thint\n";

describe("a TSV", () => {
  test("gives questions, and each row the picture that it holds or refers to", async () => {
    const rows = [
      `10\t${base64Of(1)}\tWhich côté – "left"?\tleft\tright\t\tA\tSpatial\t\n`,
      `11\t10\t"Two\nlines, a ""quote""\tand a tab"\tle carré\ttop left\tleft\tC\tSpatial\tLook.\r\n`,
      `\n12\t${base64Of(2)}\tIs it?\t\t\t\tyes\tExistence\t\n`,
      "13\t\tNo picture?\t\t\t\tNo\tExistence\t",
    ];
    const text = `\uFEFF${HEADER}${rows.join("")}`;
    const { questions, pictures, annotationHash, isConverted, questionText, questionHash } = await read("a.tsv", text);
    expect(questions.map(({ row: _, ...question }) => question)).toEqual([
      {
        id: 0,
        text: 'Question: Which côté – "left"?\nOptions:\nA. left\nB. right\nPlease select the correct answer from the options above. \n',
        gold: "A",
        options: ["a", "b"],
        relation: null,
        objects: null,
        category: "Spatial",
        choices: [
          { letter: "A", text: "left" },
          { letter: "B", text: "right" },
        ],
        picture: "10",
      },
      {
        id: 1,
        text: 'Hint: Look.\nQuestion: Two\nlines, a "quote"\tand a tab\nOptions:\nA. le carré\nB. top left\nC. left\nPlease select the correct answer from the options above. \n',
        gold: "C",
        options: ["a", "b", "c"],
        relation: null,
        objects: null,
        category: "Spatial",
        choices: [
          { letter: "A", text: "le carré" },
          { letter: "B", text: "top left" },
          { letter: "C", text: "left" },
        ],
        picture: "10",
      },
      {
        ...{ id: 2, text: "Is it?", gold: "Yes", options: ["yes", "no"], relation: null, objects: null },
        ...{ category: "Existence", picture: "12" },
      },
      {
        ...{ id: 3, text: "No picture?", gold: "No", options: ["yes", "no"], relation: null, objects: null },
        ...{ category: "Existence", picture: undefined },
      },
    ]);
    expect(pictures.map(isMissing)).toEqual([false, false, false, true]);
    const shown = await Promise.all(pictures.slice(0, 3).map(async ({ embedded }) => embedded?.()));
    expect(shown).toEqual([[bytesOf(1)], [bytesOf(1)], [bytesOf(2)]]);
    expect(annotationHash).toBe(createHash("sha256").update(text).digest("hex"));
    expect(isConverted).toBe(true);
    // What a run keeps of it gives the same questions, without the pictures.
    const kept = await read("kept.jsonl", questionText);
    expect(kept).toMatchObject({ questions, questionHash, isConverted: false });
    expect(kept.pictures.every(isMissing)).toBe(true);
    await expect(readPictures(at(kept.pictures, 0))).rejects.toThrow(/^The picture 10 is missing\.$/);
    await expect(readPictures(at(pictures, 0))).rejects.toThrow(/The picture 10 in the question file/); // our bytes
  });

  test("may have several pictures in a row, which other rows may refer to", async () => {
    const image = `['${base64Of(1)}', "${base64Of(2)}"]`;
    const { pictures } = await read("several.tsv", `${HEADER}${row({ image })}\n`);
    expect(await at(pictures, 0).embedded?.()).toEqual([bytesOf(1), bytesOf(2)]);
  });

  test("may have its pictures in files, whose names make MME's pairs", async () => {
    await mkdir(join(folder, "images", "MME"), { recursive: true });
    await writeFile(join(folder, "images", "MME", "1.jpg"), "");
    const text = `index\timage_path\tquestion\tanswer\tcategory\n1\t1.jpg\tIs it?\tYes\tcount\n2\t['2.jpg']\tIs it?\tNo\tcount\n`;
    const { pictures, questions } = await read("MME.tsv", text, "MME");
    expect(pictures).toEqual([
      { name: "images/MME/1.jpg", path: join(folder, "images", "MME", "1.jpg") },
      { name: "2.jpg", path: undefined },
    ]);
    expect(questions.map(({ picture }) => picture)).toEqual(["1.jpg", "2.jpg"]);
  });

  const row = (more: Readonly<Record<string, string>>) => {
    const values: Readonly<Record<string, string>> = {
      ...{ index: "1", image: base64Of(1), question: "Which?", A: "left", B: "right", answer: "A" },
      ...more,
    };
    return HEADER.trimEnd()
      .split("\t")
      .map((column) => values[column] ?? "")
      .join("\t");
  };
  test.each([
    ["without an answer", row({ answer: "" }), /bad\.tsv, line 2: expected a value in column answer, got none/],
    [
      "with an answer that is no option",
      row({ answer: "C" }),
      /line 2: expected the answer to be one of A, B, got "C"/,
    ],
    [
      "without options",
      row({ A: "", B: "", answer: "left" }),
      /line 2: .* Yes or No, got the answer "left" without options/,
    ],
    [
      "with another character",
      row({ image: `${base64Of(1)}!abc` }),
      /bad\.tsv:2: expected image to be base64 .*, got "!"/,
    ],
    ["with a prefix", row({ image: `data:image/png;base64,${base64Of(1)}` }), /bad\.tsv:2: .*, got ":"/],
    [
      "cut within base64",
      row({ image: base64Of(1).slice(0, -1) }),
      /bad\.tsv:2: .*, got 79 characters, cut or wrongly/,
    ],
    ["that refers to nothing", row({ image: "7" }), /bad\.tsv:2: .* got "7", which no row has/],
    ["that refers to itself", row({ image: "1" }), /bad\.tsv:2: .* got "1", which has no picture of its own/],
  ])("row %s is refused with its line", async (_, text, message) => {
    await expect(read("bad.tsv", `${HEADER}${text}\n`)).rejects.toThrow(message);
  });

  test.each([
    [
      "of unknown columns",
      Buffer.from("id\tquery\n1\tWhich?\n"),
      /bad\.tsv:1: .* index, question, image or image_path is missing/,
    ],
    ["of other bytes", Buffer.from(`${HEADER}${row({ question: "caf\xe9" })}`, "latin1"), /bad\.tsv:2: expected UTF-8/],
    ["without rows", Buffer.from(HEADER), /bad\.tsv has no questions/],
    ["that is empty", Buffer.from(""), /expected a header line/],
    [
      "that is JSON lines",
      Buffer.from('{"question": "Which?", "answer": "A"}\n'),
      /expected row 0 of a VLMEvalKit TSV/,
    ],
  ])("%s is refused", async (_, bytes, message) => {
    await expect(read("bad.tsv", bytes)).rejects.toThrow(message);
  });

  test("without a usual name has to be given", async () => {
    const reading = readDataFolder(dataSetNamed("vlmevalkit"), { folder });
    await expect(reading).rejects.toThrow(/^--questions is missing/);
    await expect(readDataFolder(dataSetNamed("POPE"), { folder })).rejects.toThrow(
      /POPE's questions: expected POPE\.tsv/,
    );
  });

  test("CV-Bench has its own prompts", async () => {
    const text = `index\timage\tquestion\tA\tB\tanswer\tprompt\n1\t${base64Of(1)}\tHow many?\t1\t2\tB\tHow many? (A) 1 (B) 2\n`;
    expect(at((await read("cv.tsv", text, "CV-Bench-2D")).questions, 0).text).toBe("How many? (A) 1 (B) 2");
  });
});

describe("a multiple-choice answer", () => {
  const question: Question = {
    ...{ id: 0, text: "", gold: "C", options: ["a", "b", "c"], relation: null, objects: null },
    choices: [
      { letter: "A", text: "Left" },
      { letter: "B", text: "top left" },
      { letter: "C", text: "1.5 m" },
    ],
  };
  test.each([
    ["C", ["c"]],
    [" c. ", ["c"]],
    ["(B) top left", ["b"]],
    ["It is on the LEFT.", ["a"]],
    ["It is top left", ["b"]],
    ["top left of the left one", ["a", "b"]],
    ["A cup, at 1.5 m", ["a", "c"]],
    ["a cup, at 1.5 m", ["c"]],
    ["at 21.5 m or 1x5 m", []],
    ["", []],
  ])("%j names %j", (text, wanted) => expect(optionsNamed(text, question)).toEqual(wanted));

  test("is right by VLMEvalKit's rule, by exactly one option and by the letters' log-probabilities", () => {
    const verdicts = (text: string, c: number) =>
      RULES.map(({ judge }) => {
        const scores = new Map(Object.entries({ a: -2, b: -3, c }));
        return judge({ text, firstToken: scores, wholeString: scores }, question, dataSetNamed("SpatialEval"));
      });
    expect(verdicts("The answer is C", -1)).toEqual([true, true, true, true]);
    expect(verdicts("A or C? C", -4)).toEqual([false, false, false, false]);
    expect(verdicts("it stands 1.5 m away", -4)).toEqual([true, true, false, false]);
  });
});

describe("a benchmark's own scores", () => {
  const rows = (list: readonly (readonly [Partial<Question>, string | null])[]): readonly BenchmarkAnswer[] =>
    list.map(([question, text], id) => ({
      question: { id, text: "", gold: "Yes", options: ["yes", "no"], relation: null, objects: null, ...question },
      text,
    }));
  const scored = (name: string, answers: readonly BenchmarkAnswer[]) => dataSetNamed(name).benchmark?.score(answers);

  test("POPE counts a row in each of its categories", () => {
    const answers = rows([
      [{ category: "random,popular" }, "Yes"],
      [{ category: "random", gold: "No" }, "yes, there is"],
      [{ category: "popular", gold: "No" }, "No."],
      [{ category: "popular" }, "Maybe"],
      [{ category: "popular" }, null],
    ]);
    expect(scored("POPE", answers)).toEqual({
      Overall: { count: 5, accuracy: 3 / 5, precision: 2 / 3, recall: 2 / 3, f1: 2 / 3, yesRatio: 3 / 5 },
      random: { count: 2, accuracy: 1 / 2, precision: 1 / 2, recall: 1, f1: 2 / 3, yesRatio: 1 },
      popular: { count: 3, accuracy: 2 / 3, precision: 1, recall: 1 / 2, f1: 2 / 3, yesRatio: 1 / 3 },
    });
  });

  test("MME joins the two questions about a picture, and leaves out pictures with one answer", () => {
    const answers = rows([
      [{ category: "count", picture: "1.jpg" }, "Yes"],
      [{ category: "count", picture: "1.jpg", gold: "No" }, "No"],
      [{ category: "count", picture: "2.jpg" }, "Yes"],
      [{ category: "count", picture: "2.jpg", gold: "No" }, "Yes"],
      [{ category: "count", picture: "3.jpg" }, "Yes"],
      [{ category: "count", picture: "3.jpg", gold: "No" }, null],
    ]);
    expect(scored("MME", answers)).toEqual({
      count: { numPictures: 2, numLeftOut: 1, accuracy: 3 / 4, accuracyPlus: 1 / 2, score: 125 },
      perception: { score: null },
      cognition: { score: null },
    });
  });

  test("3DSRBench's groups are right when all their rows are", () => {
    const choices = [
      { letter: "A", text: "yes" },
      { letter: "B", text: "no" },
    ];
    const answers = rows(
      (
        [
          ["AAAAAAAA", "A"],
          ["AAAAAAAA-1", "A"],
          ["AAAAAAAA-flip", "A"],
          ["AAAAAAAA-flip-1", "B"],
          ["BBBBBBBB", "A"],
          ["BBBBBBBB-1", null],
        ] as const
      ).map(([qid, text]) => [{ gold: "A", options: ["a", "b"], choices, row: { qid } }, text]),
    );
    expect(scored("3DSRBench", answers)).toEqual({
      vanilla: { numGroups: 5, numLeftOut: 0, numRight: 4, accuracy: 4 / 5 },
      flip: { numGroups: 3, numLeftOut: 0, numRight: 2, accuracy: 2 / 3 },
      circular: { numGroups: 2, numLeftOut: 1, numRight: 1, accuracy: 1 / 2 },
      "flip-circular": { numGroups: 1, numLeftOut: 1, numRight: 0, accuracy: 0 },
    });
  });

  test("CV-Bench-2D is the mean over its sources", () => {
    const answers = rows([
      [{ row: { source: "COCO" } }, "Yes"],
      [{ row: { source: "COCO" } }, "No"],
      [{ row: { source: "COCO" } }, "No"],
      [{ row: { source: "ADE20K" } }, "Yes"],
      [{ row: { source: "ADE20K" } }, null],
    ]);
    expect(scored("CV-Bench-2D", answers)).toEqual({
      COCO: { count: 3, accuracy: 1 / 3 },
      ADE20K: { count: 1, accuracy: 1 },
      Overall: { count: 4, accuracy: (1 / 3 + 1) / 2 },
    });
  });

  test("LLaVA's labels are scored by LLaVA's rule, and lines without a label not at all", () => {
    const answers = rows([
      [{ gold: "yes" }, "Yes"],
      [{ gold: "no" }, "There is not."],
      [{ gold: "no" }, "Maybe"],
      [{ gold: "" }, "A cat"],
    ]);
    expect(scored("llava", answers)).toEqual({
      Overall: { count: 3, accuracy: 2 / 3, precision: 1 / 2, recall: 1, f1: 2 / 3, yesRatio: 2 / 3 },
    });
    expect(scored("llava", rows([[{ gold: "" }, "A cat"]]))).toEqual({});
  });
});

describe("LLaVA's lines", () => {
  const LINES = [
    {
      question_id: 7,
      image: "a.jpg",
      text: "What is it?\nAnswer the question using a single word or phrase.",
      category: "x",
    },
    { question_id: "q8", image: "a.jpg", text: "Is there a cat?", label: "no" },
    { question_id: 9, text: "Without a picture?" },
  ];
  test("are free or labelled questions with a picture in the folder, and answers for LLaVA's scorers", async () => {
    await writeFile(join(folder, "a.jpg"), "");
    const data = await read("llava.jsonl", LINES.map((line) => JSON.stringify(line)).join("\n"), "llava");
    expect(data.questions.map(({ gold, options, category, picture }) => [gold, options, category, picture])).toEqual([
      ["", [], "x", "a.jpg"],
      ["no", ["yes", "no"], undefined, "a.jpg"],
      ["", [], undefined, undefined],
    ]);
    expect(data.pictures.map(isMissing)).toEqual([false, false, true]);
    expect(data).toMatchObject({ isConverted: false, annotationHash: null });
    const { line } = dataSetNamed("llava").answerFile ?? {};
    const common = { method: "pai", modelName: "llava-1.5-7b-hf", docHash: "0123456789abcdef0123456789" };
    expect(line?.({ question: at(data.questions, 1), text: "No", ...common })).toEqual({
      ...{ question_id: "q8", prompt: "Is there a cat?", text: "No", answer_id: "0123456789abcdef012345" },
      ...{ model_id: "llava-1.5-7b-hf", metadata: { method: "pai" } },
    });
  });

  test.each([
    [{ question_id: 1, image: "a.jpg" }, /llava\.jsonl, line 1: text must be a text, got nothing/],
    [{ image: "a.jpg", text: "What?" }, /line 1: question_id must be a text or a number/],
    [
      { question_id: 1, image: "a.jpg", text: "Is it?", label: "maybe" },
      /line 1: label must be yes or no, got "maybe"/,
    ],
  ])("%j is refused", async (line, message) => {
    await expect(read("llava.jsonl", JSON.stringify(line), "llava")).rejects.toThrow(message);
  });
});

describe("captions", () => {
  test.each([
    ["a JSON list", '["COCO_val2014_000000000042.jpg", 139, {"image": "x.png"}]'],
    ["names and COCO's numbers, one per line", "COCO_val2014_000000000042.jpg\n139\n\nx.png\n"],
    ["JSON lines", '{"image":"COCO_val2014_000000000042.jpg"}\n{"image":139}\n{"image":"x.png"}\n'],
  ])("of %s", async (_, text) => {
    await writeFile(join(folder, "000000000139.jpg"), "");
    const { questions, pictures } = await read("pictures.txt", text, "captions");
    const { line } = dataSetNamed("captions").answerFile ?? {};
    const common = { text: "A cat.", method: "greedy", modelName: "m", docHash: "" };
    expect(questions.map((question) => line?.({ question, ...common }))).toEqual([
      { image_id: 42, caption: "A cat." },
      { image_id: 139, caption: "A cat." },
      { image_id: "x.png", caption: "A cat." },
    ]);
    expect(pictures.map(({ path }) => path)).toEqual([undefined, join(folder, "000000000139.jpg"), undefined]);
    expect(at(questions, 0)).toMatchObject({ text: "Please describe this image in detail.", gold: "" });
  });

  test("of a folder, in the order of the names", async () => {
    const pictures = join(folder, "pictures");
    await mkdir(pictures);
    for (const name of ["b.JPG", "a.png", "notes.txt", "c.webp"]) await writeFile(join(pictures, name), "");
    const data = await readDataFolder(dataSetNamed("CHAIR"), { folder: pictures });
    expect(data.pictures.map(({ name }) => name)).toEqual(["a.png", "b.JPG", "c.webp"]);
    expect(data).toMatchObject({ isConverted: true, questionFile: pictures });
    await mkdir(join(folder, "none"));
    const none = readDataFolder(dataSetNamed("CHAIR"), { folder: join(folder, "none") });
    await expect(none).rejects.toThrow(/none: expected pictures .* got none/);
    await expect(read("pictures.txt", '[{"picture": 3}]', "captions")).rejects.toThrow(/line 1: expected "image"/);
  });
});

test("a run on captions has its answers in CHAIR's form, one file per method, and judges nothing", async () => {
  const dataSet = dataSetNamed("captions");
  const text = '{"image":"COCO_val2014_000000000042.jpg"}\n{"image":139}\n';
  const line = (id: number, method: string, caption: string) => ({
    ...{ doc_id: id, method, target: "", filtered_resps: [caption], option_logprobs: {}, doc_hash: "" },
    ...{ input: "USER: <image>\nPlease describe this image in detail. ASSISTANT:", confidence: 0.5 },
  });
  const lines = [line(1, "pai:alpha=0.2", "A dog."), line(0, "pai:alpha=0.2", "A cat."), line(0, "greedy", "Cats.")];
  const results = lines.map((each) => `${JSON.stringify(each)}\n`).join("");
  const run = join(folder, "run");
  await mkdir(run);
  await writeFile(join(run, "results.jsonl"), results);
  const questions = readQuestions(text, "questions.jsonl", dataSet);
  const paths = await writeAnswerFiles(run, { dataSet, questions, modelName: "m" });
  expect(paths).toEqual([join(run, "captions-pai_alpha=0.2.jsonl"), join(run, "captions-greedy.jsonl")]);
  expect(await readFile(at(paths, 0), "utf8")).toBe(
    '{"image_id":42,"caption":"A cat."}\n{"image_id":139,"caption":"A dog."}\n',
  );
  const report = rescore({
    ...{ dataSet, split: "all", questions: { name: "questions.jsonl", text } },
    answers: [{ name: "results.jsonl", text: results, named: null, gate: DEFAULT_ADAPTVIS }],
  });
  expect(report.files[0]).toMatchObject({ n: 2, prompts: { equal: 2, other: 0 }, runs: [{ n: 2 }, { n: 1 }] });
  expect(report).toMatchObject({ mcNemar: [], published: null });
  expect(report.files[0]?.runs[0]).toMatchObject({
    majority: { answer: null, share: { count: 0, of: 0 } },
    rules: { paper: null, exactlyOne: null, firstToken: null, wholeString: null },
    metrics: { confusion: null, rules: { paper: null, exactlyOne: null } },
  });
  expect(rescoreText(report)).toContain("no question has a right answer: nothing is judged");
});

test("questions of VSR about one picture are a cluster", () => {
  const VSR = dataSetNamed("VSR");
  const lines = ["a.jpg", "b.jpg", "a.jpg"].map((image) => ({ image, caption: "The cat is on the mat.", label: 1 }));
  const questions = readQuestions(lines.map((line) => JSON.stringify(line)).join("\n"), "VSR.jsonl", VSR);
  expect(questions.map(clusterOf)).toEqual(["a.jpg", "b.jpg", "a.jpg"]);
  expect(describeClusters(questions, VSR)).toBe("A cluster is all questions about one picture of VSR.");
});
