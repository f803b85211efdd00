// VLMEvalKit's files: columns, pictures, prompts, and how it reads answers and groups questions.
import { describe, expect, test } from "vitest";
import { scoreMme } from "../../src/evaluate/datasets/mme-results.ts";
import {
  extractOption,
  extractYesNo,
  isFailedAnswer,
  type PopeAnswer,
  popeScores,
  type SrBenchGrouping,
  srBenchAccuracy,
  srBenchGroup,
} from "../../src/evaluate/datasets/vlmevalkit-answers.ts";
import {
  choicePrompt,
  hasPicture,
  pairPicture,
  picturesOfRows,
  readVlmEvalKitRows,
  type VlmEvalKitOptions,
  type VlmEvalKitRow,
  yesNoPrompt,
} from "../../src/evaluate/datasets/vlmevalkit-tsv.ts";
import { expectMetric, messageOf, readEvaluateGolden, versionsOf } from "./metrics-golden.ts";

interface Golden {
  readonly pope: { readonly rows: readonly PopeAnswer[]; readonly expected: Readonly<Record<string, object>> };
  readonly mme: {
    readonly rows: readonly { readonly category: string; readonly picture: string; readonly isRight: boolean }[];
    readonly expected: Readonly<Record<string, unknown>>;
  };
  readonly srBench: {
    readonly rows: readonly { readonly qid: string; readonly isRight: boolean }[];
    readonly expected: Readonly<Record<SrBenchGrouping, number>>;
  };
}

const golden = readEvaluateGolden<Golden>("metrics.json");

async function read(text: string, options: Partial<VlmEvalKitOptions> = {}): Promise<readonly VlmEvalKitRow[]> {
  const rows = [];
  for await (const row of readVlmEvalKitRows([text], { file: "bench.tsv", ...options })) rows.push(row);
  return rows;
}

/** More than 64 characters, as base64 of a picture has. */
const BASE64 = "iVBORw0KGgo".repeat(8);

describe("rows", () => {
  test("a multiple-choice row", async () => {
    const header = "index\timage\tquestion\thint\tA\tB\tC\tD\tanswer\tcategory\tl2-category\tsplit\tqid";
    const text = `${header}\n3\t${BASE64}\t"Where\tis it?"\t\tleft\tright\tNone\t\tA\tspatial\t2D\ttest\tQ1\n`;
    const [row] = await read(text);
    const { fields, start, end, ...members } = row ?? { fields: new Map(), start: 0, end: 0 };
    expect([start, end]).toEqual([header.length + 1, text.length - 1]);
    expect(members).toEqual({
      line: 2,
      index: "3",
      pictures: [{ kind: "base64", data: BASE64 }],
      pictureIndex: undefined,
      imagePaths: [],
      question: "Where\tis it?",
      answer: "A",
      options: [
        { letter: "A", text: "left" },
        { letter: "B", text: "right" },
      ],
      hint: undefined,
      category: "spatial",
      l2Category: "2D",
      split: "test",
    });
    expect(fields.get("qid")).toBe("Q1");
    const [hinted] = await read(`index\timage\tquestion\thint\n1\t${BASE64}\tq\tLook up.\n`);
    expect(hinted?.hint).toBe("Look up.");
  });

  test("pictures in the row, in another row, several, none", async () => {
    const second = "R0lGODlh".repeat(9);
    const rows = await read(
      `index\timage\timage_path\tquestion\n1\t2\ta.jpg\tq\n2\t"['${BASE64}', ""${second}""]"\t"['b.jpg', 'c''s.jpg']"\tq\n3\t\td.jpg\tq\n`.replace(
        "'c''s.jpg'",
        "'c\\'s.jpg'",
      ),
    );
    expect(rows.map(({ pictureIndex, imagePaths }) => [pictureIndex, imagePaths])).toEqual([
      ["2", ["a.jpg"]],
      [undefined, ["b.jpg", "c's.jpg"]],
      [undefined, ["d.jpg"]],
    ]);
    const two = [
      { kind: "base64", data: BASE64 },
      { kind: "base64", data: second },
    ];
    expect(picturesOfRows(rows, "bench.tsv")).toEqual([two, two, []]);
    expect(rows.map(hasPicture)).toEqual([true, true, false]);
    expect(rows.map(pairPicture)).toEqual(["a.jpg", "b.jpg", "d.jpg"]);
  });

  test("paths are the pictures where there is no column image", async () => {
    const rows = await read("index\timage_path\tquestion\n1\ta.jpg\tq\n2\t['b.jpg', 5]\tq\n3\t\tq\n");
    expect(picturesOfRows(rows, "bench.tsv")).toEqual([
      [{ kind: "path", path: "a.jpg" }],
      [
        { kind: "path", path: "b.jpg" },
        { kind: "path", path: "5" },
      ],
      [],
    ]);
  });

  test("lists are read as Python writes them", async () => {
    const paths = async (text: string) => (await read(`index\timage_path\tquestion\n1\t${text}\tq\n`))[0]?.imagePaths;
    expect(await paths(String.raw`['a\\b.jpg', 'c\'s', 'tab\t, line\n, return\r']`)).toEqual([
      "a\\b.jpg",
      "c's",
      "tab\t, line\n, return\r",
    ]);
    expect(await paths(`"[""it's"", ""x\\""y\\"".jpg""]"`)).toEqual(["it's", 'x"y".jpg']);
    expect(await paths("[ 12 , 3.25,'a' , ]")).toEqual(["12", "3.25", "a"]);
    expect(await paths("[]")).toEqual([]);
    expect(await paths("[draft] a.jpg")).toEqual(["[draft] a.jpg"]);
    expect(await paths("a [1]")).toEqual(["a [1]"]);
    expect(await messageOf(() => paths(`[${"x".repeat(100)}]`))).toBe(
      `InputError: bench.tsv:2: image_path: expected a text or a list such as ['a', 'b'], got [${"x".repeat(79)}….`,
    );
    expect(await messageOf(() => read(`index\timage\tquestion\n1\t[${"x".repeat(100)}]\tq\n`))).toMatch(
      /:2: image: exp/,
    );
  });

  test("64 characters are an index, 65 are a picture", async () => {
    const [index, picture] = await read(`index\timage\tquestion\n1\t${"x".repeat(64)}\tq\n2\t${"x".repeat(65)}\tq\n`);
    expect(index?.pictureIndex).toBe("x".repeat(64));
    expect(picture?.pictures).toEqual([{ kind: "base64", data: "x".repeat(65) }]);
    expect([index, picture].map((row) => row && pairPicture(row))).toEqual(["x".repeat(64), "2"]);
  });

  test("a result file needs a prediction, not a picture", async () => {
    const text = "index\tquestion\tanswer\tprediction\n1\tq\tYes\tYes, it is.\n";
    const [row] = await read(text, { kind: "predictions" });
    expect(row?.fields.get("prediction")).toBe("Yes, it is.");
    expect(await messageOf(() => read(text))).toBe(
      "InputError: bench.tsv:1: expected the columns of a VLMEvalKit file, of which image or image_path is missing, got index, question, answer, prediction.",
    );
    expect(await messageOf(() => read("image\n"))).toMatch(/of which index, question is missing/);
    expect(await messageOf(() => read("index\timage\n", { kind: "predictions" }))).toMatch(
      /of which question, prediction is missing/,
    );
  });

  test("what is malformed is refused with its line", async () => {
    const header = "index\timage\tquestion";
    expect(await messageOf(() => read(`${header}\n1\t${BASE64}\tq\n1\t${BASE64}\tq\n`))).toBe(
      "InputError: bench.tsv:3: expected an index that no other row has, got 1, which line 2 has.",
    );
    expect(await messageOf(() => read(`${header}\n1\t${BASE64}\tNA\n`))).toBe(
      "InputError: bench.tsv:2: expected a value in column question, got none; add it or remove the row.",
    );
    expect(await messageOf(() => read(`${header}\n\t${BASE64}\tq\n`))).toMatch(/:2: expected a value in column index/);
    expect(await messageOf(() => read("index\timage_path\tquestion\n1\t[a.jpg]\tq\n"))).toBe(
      "InputError: bench.tsv:2: image_path: expected a text or a list such as ['a', 'b'], got [a.jpg].",
    );
    const references = async (image: string) =>
      picturesOfRows(await read(`${header}\n1\t${image}\tq\n2\t1\tq\n`), "bench.tsv");
    expect(await messageOf(() => references("9"))).toBe(
      "InputError: bench.tsv:2: expected image to be base64 or the index of a row with a picture, got 9, which no row has.",
    );
    expect(await messageOf(() => references("2"))).toMatch(/:2: .* got 2, which has no picture of its own\.$/);
  });
});

describe("prompts", () => {
  const options = [
    { letter: "A", text: "left" },
    { letter: "C", text: "right" },
  ];

  test("multiple choice, with and without hint and options", () => {
    expect(choicePrompt({ hint: "Look.", question: "Where?", options })).toBe(
      "Hint: Look.\nQuestion: Where?\nOptions:\nA. left\nC. right\nPlease select the correct answer from the options above. \n",
    );
    expect(choicePrompt({ hint: undefined, question: "Where?", options: [] })).toBe("Question: Where?\n");
  });

  test("yes/no is the question alone", () => {
    expect(yesNoPrompt({ question: "Is it? Answer yes or no." })).toBe("Is it? Answer yes or no.");
  });
});

describe("answers", () => {
  const options = [
    { letter: "A", text: "left" },
    { letter: "B", text: "right of it" },
    { letter: "C", text: "behind" },
  ];

  test.each([
    ["A", "A"],
    ["(B)", "B"],
    ["The answer is C.", "C"],
    ["B. right of it", "B"],
    ["A: left, B: right", "A"], // two letters, but only one option's whole text
    ["(A) or (B)", null],
    ["It is RIGHT OF IT.", "B"],
    ["It is behind", "C"],
    ["left or behind", null],
    ["above", null],
    ["A cup is here now", null], // the letter is the fifth word from the end, and no option's text is there
    ["A cup is here", "A"],
    ["a", null],
    ["The correct answer is **C**, as A and B are far away from it.", "C"],
    ["The answer  is behind", "B"], // by its first letter, which VLMEvalKit does not require to be a word
    ["The answer is D, not left", "A"], // D is not an option
    ["Z", "Z"],
    ["Cannot determine the answer", "Z"],
    ["I'm sorry, but without the image provided I cannot tell.", "Z"],
    ["Failed to obtain answer via API. A", null],
    ["[A]cup", "A"], // brackets separate words
    ["C one  two three.", "C"], // spaces do not count as words
    ["The camera is near:  C .  ", "C"],
    ["A or Z", "A"],
    ["A, B, C or Z", null], // several letters, so that Z does not count
    ["Most likely left, I am quite sure about", "A"], // 42 characters, twice the length of all options
    ["Most likely left, I am quite sure about it", "A"],
    ["Most likely left, I am quite sure about it!", null],
    ["", null],
    ["The object that you ask about is behind the other", null], // longer than twice all options' text
  ])("option of %j is %j", (answer, letter) => {
    expect(extractOption(answer, options)).toBe(letter);
  });

  test.each([
    ["Yes", "Yes"],
    ["no.", "No"],
    ["Yes, it is.", "Yes"],
    ["Yes,it is", "Yes"],
    ["Yes, no", "Unknown"],
    ["not at all", "Unknown"],
    ["", "Unknown"],
    ["It is(yes)", "Yes"],
    ["yes/no ?", "Unknown"],
    ["Yes.No", "Unknown"],
    ["yes-1,000", "Unknown"], // a number with a comma: the hyphen is removed, which joins the words
    ["no 1.5", "No"],
    ["no.5", "Unknown"],
    ["well  yes", "Yes"],
    [`${". ".repeat(31)}yes.`, "Yes"],
    [`${". ".repeat(32)}yes.`, "Unknown"],
  ])("verdict of %j is %s", (answer, verdict) => {
    expect(extractYesNo(answer)).toBe(verdict);
  });

  test("failed requests are not answers", () => {
    expect(isFailedAnswer("Failed to obtain answer via API. Timeout")).toBe(true);
    expect(isFailedAnswer("Failed to obtain it")).toBe(false);
  });
});

describe("groups", () => {
  test(`POPE's categories are exploded (${versionsOf(golden, "pandas", "scikit-learn")})`, () => {
    const scores = popeScores(golden.pope.rows);
    expect(scores.map(({ category }) => category)).toEqual(Object.keys(golden.pope.expected));
    for (const { category, count, rates } of scores) {
      expectMetric({ count, ...rates }, golden.pope.expected[category], category);
    }
  });

  test(`MME's pairs are joined by picture (${versionsOf(golden, "pandas")})`, () => {
    const scores = scoreMme(golden.mme.rows);
    expect(scores.map(({ category }) => category).sort()).toEqual(Object.keys(golden.mme.expected).sort());
    for (const score of scores) expectMetric(score, golden.mme.expected[score.category], score.category);
  });

  test("3DSRBench's keys", () => {
    const qids = ["ABCDEFGH", "ABCDEFGH-1", "ABCDEFGH-flip", "ABCDEFGH-flip-1"];
    const groups = (grouping: SrBenchGrouping) => qids.map((qid) => srBenchGroup(qid, grouping));
    expect(groups("vanilla")).toEqual(qids);
    expect(groups("flip")).toEqual(["ABCDEFGH", "ABCDEFGH-1", "ABCDEFGH", "ABCDEFGH-1"]);
    expect(groups("circular")).toEqual(["ABCDEFGH", "ABCDEFGH", "ABCDEFGH-flip", "ABCDEFGH-flip"]);
    expect(groups("flip-circular")).toEqual(qids.map(() => "ABCDEFGH"));
  });

  test(`3DSRBench's accuracies (${versionsOf(golden, "pandas")})`, async () => {
    for (const grouping of ["vanilla", "flip", "circular", "flip-circular"] as const) {
      const { accuracy } = srBenchAccuracy(golden.srBench.rows, grouping);
      expectMetric(accuracy, golden.srBench.expected[grouping], grouping);
    }
    expect(srBenchAccuracy([], "flip")).toEqual({ numGroups: 0, numRight: 0, accuracy: null });
    const twice = { qid: "ABCDEFGH", isRight: true };
    expect(await messageOf(() => srBenchAccuracy([twice, twice], "flip"))).toBe(
      "InputError: 3DSRBench: expected every qid once, got ABCDEFGH twice.",
    );
  });
});
