// `adaptvis explain` of an intervention: the passes that it changed beside the unedited ones, and one row of attention in full.
import { attentionJson } from "../answer.ts";
import { at } from "../errors.ts";
import type { BeforeAfter, ChangedPass, EditComparison, EditedKey, EditedRow } from "../explain-edits.ts";
import type { AttentionMap } from "../inspect/attention-map.ts";
import { effectOfFactor } from "../inspect/factor-effect.ts";
import { styled, table } from "./session.ts";

/** Keys of the row that are listed: those whose probability changed most. */
const NUM_KEYS = 12;
/** Significant digits of numbers, which adapters agree on. */
const DIGITS = 4;

const PASS_HEAD = ["pass", "place", "kernel", "output", "mean unedited", "edited", "rms unedited", "edited"];

/** What the text needs beside the comparison. */
interface ComparisonText {
  readonly title: string;
  readonly factor: number;
  readonly withAllLayers: boolean;
  /** The text of a prompt position, or what it is of a picture. */
  readonly tokenAt: (position: number) => string;
  readonly textOf: (tokenId: number) => string;
}

/** The lines about what an intervention changed. */
export function comparisonLines(comparison: EditComparison, of: ComparisonText): readonly string[] {
  const { numCompared, changed, row } = comparison;
  const passes = `${changed.length} of ${numCompared} passes up to the first token differ`;
  const shown = of.withAllLayers ? changed : firstLayer(changed);
  const hidden = changed.length - shown.length;
  const rest = hidden === 0 ? [] : [`… and ${hidden} more in later layers (--all-layers lists them)`];
  return [
    "",
    styled("bold", `${of.title} beside the unedited passes: ${passes}`),
    ...(shown.length === 0 ? [] : table(PASS_HEAD, shown.map(passRow))),
    ...rest,
    "",
    ...rowLines(row, of),
    ...followedLines(comparison, of),
  ];
}

/** One number from its score to the logits; the guide explains these lines. */
function followedLines(
  { row }: EditComparison,
  { tokenAt, textOf }: Pick<ComparisonText, "tokenAt" | "textOf">,
): readonly string[] {
  const { followed, logits } = row;
  if (followed === undefined) return [];
  const key = at(row.keys, followed.position);
  const { component, value, part, headOutput, hidden } = followed;
  const after = key.editedScore === undefined ? "" : `, after the edit ${short(key.editedScore)}`;
  const arrow = ({ unedited, edited }: BeforeAfter) => `${short(unedited)} → ${short(edited)}`;
  const lines = [
    ["score", `${short(key.uneditedScore)} unedited, ${short(key.score)} in the edited pass${after}`],
    ["attention", `softmax over ${row.keys.length} keys: ${percent(key.uneditedProb)} → ${percent(key.prob)}`],
    [
      "value",
      `component ${component} of ${value.length}: ${short(at(value, component))}; attention · value ${arrow(part)}`,
    ],
    ["head output", `component ${component}, the sum over all keys: ${arrow(headOutput)}`],
    ["hidden state", `component ${hidden.component} after o_proj, which changed most: ${arrow(hidden)}`],
    ...(logits === undefined
      ? []
      : [
          [
            "logits",
            `of “${textOf(logits.tokenId).trim()}” minus “${textOf(logits.otherId).trim()}”: ${arrow(logits)}`,
          ],
        ]),
  ] as const;
  const title = `Key ${followed.position} (${tokenAt(followed.position)}) followed to the logits:`;
  return ["", styled("bold", title), ...lines.map(([name = "", text = ""]) => `${name.padEnd(14)}${text}`)];
}

/** The passes of the first layer that has changes, and those outside of layers. */
function firstLayer(changed: readonly ChangedPass[]): readonly ChangedPass[] {
  const layerOf = ({ edited }: ChangedPass) => /^layers\.\d+/.exec(edited.place)?.[0];
  const first = changed.map(layerOf).find((layer) => layer !== undefined);
  return changed.filter((pass) => layerOf(pass) === undefined || layerOf(pass) === first);
}

function passRow({ edited, unedited }: ChangedPass): readonly string[] {
  const index = Math.max(
    0,
    edited.outputs.findIndex(({ mean, rms }, each) => {
      const other = unedited.outputs[each];
      return mean !== other?.mean || rms !== other.rms;
    }),
  );
  const [output, other] = [at(edited.outputs, index), at(unedited.outputs, index)];
  return [
    String(edited.index),
    edited.place,
    edited.kernel,
    `${output.label} [${output.shape.join(", ")}]`,
    short(other.mean),
    short(output.mean),
    short(other.rms),
    short(output.rms),
  ];
}

function rowLines(row: EditedRow, { factor, tokenAt }: ComparisonText): readonly string[] {
  const { layer, head, position, maps } = row;
  const title = `Attention of row ${position}, the last prompt token, in layer ${layer}, head ${head}`;
  const ofMaps = maps.flatMap(({ used, unmodified }, index) => {
    const image = maps.length === 1 ? "the image" : `image ${index + 1}`;
    const change = (value: (map: AttentionMap) => string) =>
      unmodified === undefined ? value(used) : `${value(unmodified)} → ${value(used)}`;
    const share = change((map) => `${(map.share * 100).toFixed(1)} %`);
    const entropy = change((map) => map.entropy.toFixed(2));
    const signs =
      used.negativeScores === undefined ? "" : `; ${(used.negativeScores * 100).toFixed(1)} % of the scores negative`;
    const effect = effectOfFactor(factor, used, unmodified);
    return [
      `On ${image} ${share}, entropy there ${entropy} bits${signs}${effect === undefined ? "" : `; factor ${factor}: ${effect}`}`,
    ];
  });
  if (row.keys.every(({ prob, uneditedProb }) => prob === uneditedProb)) {
    return [styled("bold", title), ...ofMaps, "No attention of this row and head changed."];
  }
  const keys = changedMost(row.keys);
  const cells = keys.map((key) => [
    String(key.position),
    tokenAt(key.position),
    short(key.uneditedScore),
    short(key.score),
    key.editedScore === undefined ? "–" : short(key.editedScore),
    percent(key.uneditedProb),
    percent(key.prob),
  ]);
  const names = ["key", "token", "score unedited", "edited pass", "after the edit", "attention unedited", "edited"];
  return [
    styled("bold", title),
    ...ofMaps,
    `The ${keys.length} of ${row.keys.length} keys whose attention changed most:`,
    ...table(names, cells),
  ];
}

/** The keys whose attention changed most, in the order of the prompt. */
function changedMost(keys: readonly EditedKey[]): readonly EditedKey[] {
  const change = ({ prob, uneditedProb }: EditedKey) => Math.abs(prob - uneditedProb);
  return [...keys]
    .sort((a, b) => change(b) - change(a))
    .slice(0, NUM_KEYS)
    .sort((a, b) => a.position - b.position);
}

/** The comparison as JSON: statistics of the changed passes, and every key of the row. */
export function comparisonJson({ numCompared, changed, row }: EditComparison): object {
  const { maps, followed, logits = null, ...others } = row;
  return {
    numCompared,
    changed: changed.map(({ edited, unedited }) => ({
      index: edited.index,
      stage: edited.stage,
      place: edited.place,
      outputs: edited.outputs.map(({ picture: _, ...output }, index) => {
        const { min, max, mean, rms, numZeros } = at(unedited.outputs, index);
        return { ...output, unedited: { min, max, mean, rms, numZeros } };
      }),
    })),
    row: {
      ...others,
      attention: attentionJson(maps),
      followed: followed === undefined ? null : { ...followed, value: Array.from(followed.value) },
      logits,
    },
  };
}

function short(value: number): string {
  return Number.isFinite(value) ? String(Number(value.toPrecision(DIGITS))) : "−∞";
}

function percent(prob: number): string {
  return `${(prob * 100).toFixed(2)} %`;
}
