// Folders of evaluation runs whose answers are made up, for tests of the report: no model answers anything.
//
// Controlled_A has the published number of rows and settings, VSR has not. Between them they hold what a report has to show:
// answers that are fixed, broken, changed in format only, long, hostile to HTML, and pictures that are missing.
import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import sharp from "sharp";
import { split } from "../../src/evaluate/python-random.ts";

/** Folders of the runs. */
export interface MadeUpRuns {
  /** Test half of Controlled_A, 330 questions: greedy, three factors and AdaptVis with the published settings. */
  readonly controlledA: string;
  /** 60 questions of VSR with 14 relations, some pictures missing, no picture geometry in the manifest. */
  readonly vsr: string;
}

const NUM_LAYERS = 6;
const RELATIONS = ["left", "right", "on", "under"];
const VSR_RELATIONS = [
  ...["above", "at the left side of", "at the right side of", "behind", "beneath", "contains", "facing away from"],
  ...["far away from", "in front of", "inside", "next to", "on top of", "touching", "under"],
];

/** Writes both runs, their question files and some pictures into a folder. */
export async function writeMadeUpRuns(folder: string): Promise<MadeUpRuns> {
  const [controlledA, vsr] = [join(folder, "run-a"), join(folder, "run-vsr")];
  await writeControlledA(folder, controlledA);
  await writeVsr(folder, vsr);
  return { controlledA, vsr };
}

async function writeControlledA(folder: string, run: string): Promise<void> {
  const rows = Array.from({ length: 412 }, (_, id) => {
    const relation = RELATIONS[id % 4] ?? "";
    const objects = [`thing ${Math.floor(id / 4)}`, "box"];
    return {
      id,
      question: `Where is the ${objects[0]} in relation to the ${objects[1]}? Answer with left, right, on or under.`,
      answer: [`${relation.charAt(0).toUpperCase()}${relation.slice(1)}`],
    };
  });
  const arms = {
    greedy: { method: "greedy" },
    "scaling:factor=0.5": { method: "scaling", factor: 0.5, rows: "last" },
    "scaling:factor=0.8": { method: "scaling", factor: 0.8, rows: "last" },
    "scaling:factor=1.2": { method: "scaling", factor: 1.2, rows: "last" },
    adaptvis: { method: "adaptvis", alpha1: 0.5, alpha2: 1.5, beta: 0.4, gate: "probability", rows: "last" },
  };
  const lines = split(rows.length).test.flatMap((id) =>
    Object.entries(arms).map(([method, settings], index) => {
      const gold = String(rows[id]?.answer[0]);
      const isRight = (id * 7 + index * 3) % 10 < 5 + index;
      const other = RELATIONS[(id + 1) % 4] ?? "";
      // Every 11th answer of AdaptVis names two options: right under the paper's rule, by its wording alone.
      const isWordy = method === "adaptvis" && id % 11 === 0;
      const text = isWordy ? `The thing is ${gold.toLowerCase()} of the box, or ${other}.` : isRight ? gold : other;
      const chosen = isWordy ? RELATIONS[((id * 7) % 10 < 5 ? id : id + 1) % 4] : text.toLowerCase();
      return sampleLine({
        id,
        method,
        gold,
        text,
        chosen: chosen ?? "",
        options: RELATIONS,
        image: `controlled_images/${id % 12}.png`,
        settings,
        seed: id + index,
      });
    }),
  );
  const imageProcessor = {
    imageSize: 84,
    padToSquare: false,
    resize: { shortestEdge: 84 },
    filter: "bicubic",
    centerCrop: true,
    imageMean: [0, 0, 0],
  };
  await writeRun(run, {
    dataset: "Controlled_A",
    split: "test",
    arms,
    lines,
    questionFile: join(folder, "Controlled_A_questions.jsonl"),
    rows,
    about: { modelName: "llava-1.5-7b-hf", imageProcessor },
  });
  for (let index = 0; index < 12; index++) await writePicture(join(folder, "controlled_images", `${index}.png`), index);
}

async function writeVsr(folder: string, run: string): Promise<void> {
  const rows = Array.from({ length: 60 }, (_, id) => ({
    image: `${String(id).padStart(12, "0")}.png`,
    caption: `The cat is ${VSR_RELATIONS[id % VSR_RELATIONS.length]} the <b>box</b> & "mat" ${id}.`,
    label: id % 3 === 0 ? 0 : 1,
    relation: VSR_RELATIONS[id % VSR_RELATIONS.length],
  }));
  const arms = {
    greedy: { method: "greedy" },
    "pai:alpha=0.2": { method: "pai", alpha: 0.2 },
  };
  const lines = rows.flatMap(({ label, image }, id) =>
    Object.entries(arms).map(([method, settings], index) => {
      const gold = label === 1 ? "Yes" : "No";
      const isRight = (id * 3 + index * 2) % 7 < 4;
      const other = gold === "Yes" ? "No" : "Yes";
      const long = `${other}, <script>alert(1)</script> ${"the cat is somewhere else entirely and ".repeat(8)}`;
      const text = isRight ? gold : id % 5 === 3 ? long : other;
      const chosen = (isRight ? gold : other).toLowerCase();
      return sampleLine({
        id,
        method,
        gold,
        text,
        chosen,
        options: ["yes", "no"],
        image: `val2017/${image}`,
        settings,
        seed: id + 3 * index,
      });
    }),
  );
  await writeRun(run, {
    dataset: "VSR",
    split: "all",
    arms,
    lines,
    questionFile: join(folder, "VSR_questions.jsonl"),
    rows,
    about: { modelName: "other-model" },
  });
  for (let id = 0; id < 60; id += 2)
    await writePicture(join(folder, "val2017", `${String(id).padStart(12, "0")}.png`), id);
}

function sampleLine(of: {
  readonly id: number;
  readonly method: string;
  readonly gold: string;
  readonly text: string;
  readonly chosen: string;
  readonly options: readonly string[];
  readonly image: string;
  readonly settings: object;
  readonly seed: number;
}): object {
  const { id, method, gold, text, chosen, options, image, settings, seed } = of;
  const scores = Object.fromEntries(options.map((option, index) => [option, option === chosen ? -0.1 : -2 - index]));
  const layers = Array.from({ length: NUM_LAYERS }, (_, layer) => layer);
  const map = (shift: number) => ({
    layer: 3,
    rows: 6,
    columns: 6,
    peak: 0.05,
    weights: Buffer.from(
      Array.from({ length: 36 }, (_, patch) => ((patch + shift) % 36 === 7 ? 255 : (patch * 7) % 90)),
    ).toString("base64"),
  });
  return {
    doc_id: id,
    method,
    target: gold,
    resps: [[text]],
    filtered_resps: [text],
    image,
    settings,
    factor: "factor" in settings ? settings.factor : 1,
    confidence: method.startsWith("scaling") ? null : 0.3 + ((id * 13) % 70) / 100,
    option_first_token_logprobs: scores,
    option_logprobs: scores,
    image_share: layers.map((layer) => 0.1 + layer * 0.05 + (seed % 9) / 100),
    image_entropy: layers.map((layer) => 5 - layer * 0.4 + (seed % 7) / 20),
    image_map: map(seed),
    unmodified_map: method === "adaptvis" ? map(id) : null,
  };
}

async function writeRun(
  folder: string,
  of: {
    readonly dataset: string;
    readonly split: string;
    readonly arms: object;
    readonly lines: readonly object[];
    readonly questionFile: string;
    readonly rows: readonly object[];
    readonly about: object;
  },
): Promise<void> {
  const { dataset, split: half, arms, lines, questionFile, rows, about } = of;
  const jsonLines = (list: readonly object[]) => list.map((row) => `${JSON.stringify(row)}\n`).join("");
  await mkdir(folder, { recursive: true });
  await writeFile(questionFile, jsonLines(rows));
  await writeFile(join(folder, "results.jsonl"), jsonLines(lines));
  const identity = {
    dataset,
    split: half,
    ids: null,
    methods: arms,
    prompts: "authors",
    maxNewTokens: 100,
    model: createHash("sha256").update(dataset).digest("hex"),
    dtype: "f16",
    kvDtype: "f32",
    activationDtype: "f32",
    questions: createHash("sha256").update(jsonLines(rows)).digest("hex"),
    annotations: null,
  };
  const manifest = { format: 1, identity, shard: null, about: { version: "0.0.0", questionFile, ...about } };
  await writeFile(join(folder, "manifest.json"), JSON.stringify(manifest));
}

/** A picture with a disc on a gradient, 120 × 90 pixels. */
async function writePicture(path: string, index: number): Promise<void> {
  const [width, height] = [120, 90];
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const isInside = (x - 20 - index * 2) ** 2 + (y - 45) ** 2 < 400;
      data.set(isInside ? [230, 120, 40] : [x * 2, y * 2, 160], (y * width + x) * 3);
    }
  }
  await mkdir(dirname(path), { recursive: true });
  await sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toFile(path);
}
