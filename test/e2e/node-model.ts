// The same model in Node, on the same software adapter: what the page's answers are compared with.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AnswerJson } from "../../src/answer.ts";
import {
  decodeImage,
  fileSource,
  Llava,
  openNodeAdapter,
  type RgbImage,
  requestGpuDevice,
} from "../../src/index.node.ts";
import { readTensorFile, type TensorFile } from "../setup/golden.ts";
import { MODEL } from "./fixtures.ts";
import type { Playground } from "./playground.ts";

/** Bound on logits and log-probabilities between hosts: the same kernels by two builds of Dawn. */
const BOUND = 1e-3;

let opened: Promise<Llava> | undefined;

/** The embedded checkpoint on SwiftShader; the same model for every caller in a process. */
export function openNodeModel(): Promise<Llava> {
  opened ??= loadNodeModel();
  return opened;
}

async function loadNodeModel(): Promise<Llava> {
  const { adapter } = await openNodeAdapter("swiftshader");
  return await Llava.load(fileSource(MODEL), { device: await requestGpuDevice(adapter) });
}

/** The page's JSON file. */
export interface AnswerFile {
  readonly question: string;
  readonly greedy: AnswerJson;
  readonly adaptvis: AnswerJson;
  readonly factors: readonly AnswerJson[];
}

/** What a page gives to take away of its last question. */
export interface TakenAway {
  readonly picture: RgbImage;
  readonly file: AnswerFile;
  readonly trace: TensorFile;
}

/** A page that can be downloaded from. */
type Downloads = Pick<Playground, "download">;

/** Downloads picture, answer and trace. */
export async function takeAway(playground: Downloads): Promise<TakenAway> {
  const picture = await decodeImage(await playground.download("Download picture (PNG)"));
  const file = await answerFile(playground);
  const bytes = await playground.download("Download trace (safetensors)");
  const folder = await mkdtemp(join(tmpdir(), "adaptvis-e2e-"));
  try {
    await writeFile(join(folder, "trace.safetensors"), bytes);
    return { picture, file, trace: await readTensorFile("trace.safetensors", folder) };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Downloads the answer. */
export async function answerFile(playground: Downloads): Promise<AnswerFile> {
  const bytes = await playground.download("Download answer (JSON)");
  return JSON.parse(bytes.toString("utf8")) as AnswerFile; // the page's own format, compared field by field
}

/** Where the page's answers to a picture differ from Node's: ids, factor, text, and numbers beyond {@link BOUND}. */
export async function differencesFromNode(model: Llava, { picture, file, trace }: TakenAway): Promise<string[]> {
  const inputs = model.prepare({ image: picture, question: file.question });
  const common = { topLogProbs: 5, reusePrefix: false };
  const greedy = await model.answer(inputs, { ...common, method: "greedy" });
  const adaptvis = await model.trace(inputs, { ...common, method: "adaptvis", ...file.adaptvis.settings });
  const logits = adaptvis.tensors.find(({ name }) => name === "logits")?.data ?? [];
  const generatedIds = adaptvis.answer.tokens.map(({ tokenId }) => tokenId);
  const problems = [
    ...compareAnswers("greedy", file.greedy, greedy),
    ...compareAnswers("AdaptVis", file.adaptvis, adaptvis.answer),
    ...compareNumbers("logits", trace.get("logits").data, logits),
    ...compareNumbers("pixel_values", trace.get("pixel_values").data, inputs.images[0]?.pixelValues ?? []),
  ];
  if (trace.ids("generated_ids").join() !== generatedIds.join()) problems.push("the trace's generated_ids differ");
  if (file.greedy.promptTokens !== greedy.promptTokens) problems.push(`${file.greedy.promptTokens} prompt tokens`);
  for (const tried of file.factors) {
    const scaled = await model.answer(inputs, { ...common, method: "scaling", factor: tried.factor });
    problems.push(...compareAnswers(`factor ${tried.factor}`, tried, scaled));
  }
  return problems;
}

function compareAnswers(name: string, actual: AnswerJson, expected: Awaited<ReturnType<Llava["answer"]>>): string[] {
  const problems: string[] = [];
  const ids = actual.tokens.map(({ id }) => id).join();
  const expectedIds = expected.tokens.map(({ tokenId }) => tokenId).join();
  if (ids !== expectedIds) problems.push(`${name}: ids ${ids}, in Node ${expectedIds}`);
  if (actual.answer !== expected.text.trim()) problems.push(`${name}: "${actual.answer}", in Node "${expected.text}"`);
  if (actual.factor !== expected.factor) problems.push(`${name}: factor ${actual.factor}, in Node ${expected.factor}`);
  // Confidence is rounded to two decimals before it meets beta.
  if (!(Math.abs(actual.confidence - expected.confidence) <= 0.01 + 1e-9))
    problems.push(`${name}: confidence ${actual.confidence}, in Node ${expected.confidence}`);
  for (const [index, { top }] of expected.tokens.entries()) {
    const alternatives = actual.tokens[index]?.top ?? [];
    const byId = new Map(alternatives.map(({ id, logProb }) => [id, logProb]));
    const here = top.map(({ tokenId }) => byId.get(tokenId) ?? Number.NaN);
    const there = top.map(({ logProb }) => logProb);
    problems.push(...compareNumbers(`${name}: token ${index}'s log-probabilities`, here, there));
  }
  return problems;
}

function compareNumbers(name: string, actual: ArrayLike<number>, expected: ArrayLike<number>): string[] {
  if (actual.length !== expected.length || actual.length === 0)
    return [`${name}: ${actual.length} numbers, in Node ${expected.length}`];
  let largest = 0;
  for (let i = 0; i < actual.length; i++) {
    const error = Math.abs((actual[i] ?? Number.NaN) - (expected[i] ?? Number.NaN));
    if (!(error <= largest)) largest = error; // NaN too
  }
  return largest < BOUND ? [] : [`${name}: differ by ${largest}`];
}
