// adaptvis lens: which tokens the hidden states of layers and positions give.
import type { Command } from "commander";
import { InvalidArgumentError } from "commander";
import { encodeSafetensors } from "../checkpoint/safetensors-writer.ts";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { at } from "../errors.ts";
import { type TraceTensor, traceMetadata } from "../inspect/trace.ts";
import { type Lens, type LensRow, logitLens } from "../lens.ts";
import type { Llava } from "../llava.ts";
import { type ImageInput, type ModelInputs, tileGrids } from "../models/inputs.ts";
import { asUsage, checkOutput, indexList, modelPath, someText, wholeFrom } from "./checks.ts";
import {
  addMethodOptions,
  addQuestionOptions,
  checkWords,
  type MethodFlags,
  methodOf,
  methodOptions,
  type QuestionFlags,
  questionOf,
} from "./flags.ts";
import { elapsed, openModelAndPictures } from "./open-model.ts";
import { examples } from "./package-files.ts";
import { notePromptForm } from "./prompt-form.ts";
import { defineCommand, type Session, table } from "./session.ts";

/** Parsed options of `lens`. */
interface LensFlags extends QuestionFlags, Omit<MethodFlags, "layers"> {
  readonly at: string;
  readonly after?: readonly number[];
  readonly top: number;
  readonly norm: boolean;
  readonly out?: string;
}

/** `adaptvis lens`. */
export const lensCommand = defineCommand("lens", describeLens, lens);

/** Describes `lens` to commander. */
function describeLens(command: Command): Command {
  addQuestionOptions(
    command.description("Show which tokens the hidden states of layers and positions give (logit lens)."),
  )
    .option(
      "--at <positions>",
      'positions, as behind the @ of trace --read: image, last, generated, "a text", numbers and ranges',
      someText,
      "last",
    )
    .option(
      "--after <layers>",
      "layers after which hidden states are taken, such as 0,2-3; input is the decoder's input (default: all and input)",
      layerList,
    )
    .option("--top <number>", "most probable tokens per layer and position", wholeFrom(1, 100), 5)
    .option("--no-norm", "leave the final norm out before lm_head")
    .option(
      "--out <file.safetensors>",
      "also write the tokens' ids and probabilities, [layers, positions, top] each",
      someText,
    );
  return addMethodOptions(command, 1)
    .addHelpText(
      "after",
      `
A hidden state goes through the final norm and lm_head, as if the later layers were left out. Positions of pictures are
shown as a grid of their patches, each with its most probable token; --json has all of them.`,
    )
    .addHelpText(
      "after",
      examples(({ picture }) => [
        `lens --image ${picture} "What is in the picture?"`,
        `lens --image ${picture} --at image --after 2-3 "What is in the picture?"`,
        `lens --image ${picture} --at 'last,generated' --max-new-tokens 8 --json "What is in the picture?"`,
      ]),
    );
}

/** Runs `lens`. */
async function lens(session: Session, question: string | undefined, flags: LensFlags): Promise<void> {
  checkWords(question, flags, "lens");
  methodOf(flags);
  const { image: pictures = [] } = flags;
  await checkOutput("--out", flags.out, [...pictures, modelPath(flags)]);
  const options = await methodOptions(flags);
  const { open, images } = await openModelAndPictures(session, flags, { firstQuestion: options });
  try {
    const { model } = open;
    const started = performance.now();
    const inputs = await asUsage(() => model.prepare(questionOf(question, flags, images)));
    const seen = await asUsage(() =>
      logitLens(model, inputs, {
        ...options,
        layers: flags.after,
        positions: flags.at,
        topTokens: flags.top,
        isNormalized: flags.norm,
        signal: session.signal,
      }),
    );
    if (flags.out !== undefined)
      await writeFileWhole(flags.out, encodeSafetensors(...lensFile(seen, { model, inputs })));
    const answerMs = elapsed(started);
    notePromptForm(session, model, flags);
    session.result({
      answer: seen.answer.text.trim(),
      method: seen.answer.method,
      promptTokens: seen.answer.promptTokens,
      imageSpan: seen.answer.imageSpan,
      isNormalized: flags.norm,
      layers: seen.layers,
      positions: seen.positions,
      rows: seen.rows,
      grids: inputs.images.flatMap((image, picture) => gridsOf(image).map((grid) => ({ picture, ...grid }))),
      ...(flags.out !== undefined && { out: flags.out }),
      ...open.facts(),
      timings: { loadMs: open.loadMs, answerMs },
    });
    session.print(`${lensLines(seen, inputs, positionTexts(model, { inputs, seen })).join("\n")}\n`);
  } finally {
    open.close();
  }
}

/** `input,0,2-3` → −1, 0, 2, 3. */
function layerList(text: string): readonly number[] {
  const parts = text.split(",").map((part) => part.trim());
  const layers = parts.flatMap((part) => (part === "input" ? [-1] : indexList(part)));
  if (layers.length > 0) return [...new Set(layers)];
  throw new InvalidArgumentError('Expected layers and ranges such as "input,0,2-3".');
}

/** Cells of a picture's tile and the positions that show them. */
interface PatchGrid {
  /** Of the picture's tiles; 0 for a picture without. */
  readonly tile: number;
  /** [rows][columns] prompt positions; null for a patch that is not in the prompt (padding). */
  readonly positions: readonly (readonly (number | null)[])[];
}

/** The patches of a picture, tile by tile; none where nothing says where its positions lie. */
function gridsOf({ runs, rowIndex, grid, tiles }: ImageInput): readonly PatchGrid[] {
  const grids = tiles === undefined ? (grid === undefined ? [] : [{ ...grid, firstRow: 0 }]) : tileGrids(tiles);
  const positions = runs.flatMap(([start, end]) => Array.from({ length: end - start }, (_, index) => start + index));
  // Without tiles, a class token may come first.
  const skipped = tiles === undefined && grid !== undefined ? positions.length - grid.width * grid.height : 0;
  const shown = new Map(positions.map((position, index) => [at(rowIndex, index) - skipped, position]));
  return grids.map(({ width, height, firstRow }, tile) => ({
    tile,
    positions: Array.from({ length: height }, (_row, y) =>
      Array.from({ length: width }, (_column, x) => shown.get(firstRow + y * width + x) ?? null),
    ),
  }));
}

/** Per layer: a grid for each picture that is looked at, then a table of the other positions. */
function lensLines(seen: Lens, inputs: ModelInputs, texts: ReadonlyMap<number, string>): readonly string[] {
  const lines: string[] = [];
  const isInPicture = new Set<number>();
  const grids = inputs.images.flatMap((image, picture) => gridsOf(image).map((grid) => ({ picture, ...grid })));
  for (const { positions } of grids)
    for (const position of positions.flat()) if (position !== null) isInPicture.add(position);
  for (const layer of seen.layers) {
    const rows = new Map(seen.rows.filter((row) => row.layer === layer).map((row) => [row.position, row]));
    for (const { picture, tile, positions } of grids) {
      if (!positions.flat().some((position) => position !== null && rows.has(position))) continue;
      const where = grids.length === 1 ? "" : `, picture ${picture}, tile ${tile}`;
      lines.push("", `${layerName(layer)}${where}: most probable token of each patch`);
      lines.push(...gridLines(positions.map((row) => row.map((position) => gridCell(position, rows)))));
    }
  }
  const others = seen.rows.filter(({ position }) => !isInPicture.has(position));
  if (others.length > 0) {
    const cells = others.map((row) => {
      const name = `${row.position} ${texts.get(row.position) ?? ""}`.trim();
      return [layerName(row.layer), name, row.tokens.map(tokenCell).join("  ")];
    });
    lines.push("", ...table(["after", "position", "most probable tokens"], cells));
  }
  return lines.slice(1);
}

function layerName(layer: number): string {
  return layer < 0 ? "input" : `layer ${layer}`;
}

function tokenCell({ tokenId, text, probability }: LensRow["tokens"][number]): string {
  return `${tokenName(tokenId, text)} ${(100 * probability).toFixed(1)} %`;
}

/** A token's text in quotes, so that spaces are seen; its id without a tokenizer. */
export function tokenName(tokenId: number, text: string | undefined): string {
  return text === undefined ? `#${tokenId}` : JSON.stringify(text);
}

function gridCell(position: number | null, rows: ReadonlyMap<number, LensRow>): string {
  const token = position === null ? undefined : rows.get(position)?.tokens[0];
  if (token === undefined) return "·";
  return (token.text ?? `#${token.tokenId}`).trim().slice(0, 9) || "␣";
}

function gridLines(cells: readonly (readonly string[])[]): readonly string[] {
  const width = Math.max(...cells.flat().map((cell) => cell.length));
  return cells.map((row) =>
    row
      .map((cell) => cell.padEnd(width))
      .join(" ")
      .trimEnd(),
  );
}

/** The text of every position that is looked at, in quotes. */
function positionTexts(
  { processor }: Llava,
  { inputs, seen }: { readonly inputs: ModelInputs; readonly seen: Lens },
): ReadonlyMap<number, string> {
  if (!processor.hasTokenizer) return new Map();
  const ids = [...inputs.inputIds, ...seen.answer.tokens.map(({ tokenId }) => tokenId)];
  const decode = (id: number) => processor.tokenizer.decode([id], { skipSpecialTokens: false });
  return new Map(seen.positions.map((position) => [position, JSON.stringify(decode(at(ids, position)))]));
}

/** Ids I32 and probabilities F32, [layers, positions, top] each, and what they belong to. */
function lensFile(
  { answer, layers, positions, rows }: Lens,
  { model, inputs }: { readonly model: Llava; readonly inputs: ModelInputs },
): [readonly TraceTensor[], Record<string, string>] {
  const tokens = rows.map((row) => row.tokens);
  const shape = [layers.length, positions.length, tokens[0]?.length ?? 0];
  const ids = Int32Array.from(tokens.flat(), ({ tokenId }) => tokenId);
  const probabilities = Float32Array.from(tokens.flat(), ({ probability }) => probability);
  const generatedIds = Int32Array.from(answer.tokens, ({ tokenId }) => tokenId);
  return [
    [
      { name: "input_ids", dtype: "I32", shape: [inputs.inputIds.length], data: inputs.inputIds },
      { name: "generated_ids", dtype: "I32", shape: [generatedIds.length], data: generatedIds },
      { name: "lens.token_ids", dtype: "I32", shape, data: ids },
      { name: "lens.probabilities", dtype: "F32", shape, data: probabilities },
    ],
    {
      ...traceMetadata(model, { inputs, answer }),
      lens_layers: JSON.stringify(layers),
      lens_positions: JSON.stringify(positions),
    },
  ];
}
