// The options of heat maps: whose attention they show, and of what.
import { type Command, Option } from "commander";
import type { Comparison } from "../inspect/relative-map.ts";
import { SINK_THRESHOLD } from "../inspect/sink-tokens.ts";
import { numberFrom, someText, wholeFrom } from "./checks.ts";
import { UsageError } from "./session.ts";

/** What is done with attention sinks. */
export type SinkHandling = "mark" | "remove" | "keep";

/** Parsed options of heat maps. */
export interface HeatMapFlags {
  readonly heatmap?: string;
  readonly heatmapToken?: number;
  readonly heatmapWord?: string;
  readonly heatmapWords?: true;
  readonly heatmapRollout?: true;
  /** A question; true for {@link NEUTRAL_QUESTION}. */
  readonly heatmapNeutral?: string | true;
  readonly heatmapRelative?: Comparison;
  readonly heatmapSinks?: SinkHandling;
  readonly sinkThreshold?: number;
  readonly heatmapSheet?: string;
  readonly layer?: number;
  readonly head?: number;
}

/** The question of a neutral prompt unless another is given. */
export const NEUTRAL_QUESTION = "Describe the image.";

/** Adds the options of heat maps. */
export function addHeatMapOptions(command: Command): Command {
  return command
    .option("--heatmap <file.png>", "draw a heat map of the last prompt token's attention over the picture", someText)
    .option(
      "--layer <number>",
      "layer of the heat map and of the attention figures (default: the middle layer)",
      wholeFrom(0),
    )
    .option("--head <number>", "head of the heat map and figures (default: the mean of all heads)", wholeFrom(0))
    .option(
      "--heatmap-token <number>",
      "draw the attention of the row that this token of the answer was chosen from; 0 is the first",
      wholeFrom(0),
    )
    .option("--heatmap-word <word>", "draw the attention of the rows that chose this word of the answer", someText)
    .option("--heatmap-words", "draw a small map for every word of the answer")
    .option("--heatmap-rollout", "draw attention rollout over all layers in place of one layer's attention")
    .option(
      "--heatmap-neutral [question]",
      `draw the map relative to that of a neutral question about the picture (default: "${NEUTRAL_QUESTION}")`,
    )
    .addOption(
      new Option("--heatmap-relative <how>", "how it is compared with the neutral map (default: ratio)").choices([
        "ratio",
        "difference",
      ]),
    )
    .addOption(
      new Option("--heatmap-sinks <how>", "what to do with attention sinks among the patches (default: keep)").choices([
        "mark",
        "remove",
        "keep",
      ]),
    )
    .option(
      "--sink-threshold <share>",
      `mean attention from all later rows above which a token is a sink (default: ${SINK_THRESHOLD})`,
      numberFrom({ least: 0, most: 1 }),
    )
    .option("--heatmap-sheet <file.png>", "draw small maps of every layer and head", someText);
}

/** @throws UsageError for options that need another or exclude each other. */
export function checkHeatMapFlags(flags: HeatMapFlags & { readonly image?: readonly string[] }): void {
  const whose = ["heatmapToken", "heatmapWord", "heatmapWords"] as const;
  const given = (names: readonly (keyof HeatMapFlags)[]) => names.filter((name) => flags[name] !== undefined);
  for (const name of given(["heatmap", "heatmapSheet"])) {
    if (flags.image === undefined) throw new UsageError(`${flagOf(name)} needs a picture: add --image FILE.`);
  }
  const [token, other] = given(whose);
  if (token !== undefined && other !== undefined) throw excluding(token, other);
  if (token !== undefined && flags.heatmap === undefined && (flags.heatmapSheet === undefined || flags.heatmapWords)) {
    throw new UsageError(`${flagOf(token)} needs a file to draw to: add --heatmap FILE.png.`);
  }
  const [drawn] = given(["heatmapRollout", "heatmapNeutral", "heatmapSinks"]);
  if (drawn !== undefined && flags.heatmap === undefined) {
    throw new UsageError(`${flagOf(drawn)} needs a file to draw to: add --heatmap FILE.png.`);
  }
  for (const [name, needed] of [
    ["heatmapRelative", "heatmapNeutral"],
    ["sinkThreshold", "heatmapSinks"],
  ] as const) {
    if (flags[name] !== undefined && flags[needed] === undefined) {
      throw new UsageError(`${flagOf(name)} has no effect without ${flagOf(needed)}: add it.`);
    }
  }
  for (const name of given(["layer", "head", "heatmapSinks", "heatmapWords"])) {
    if (flags.heatmapRollout === true) throw excluding("heatmapRollout", name);
  }
  for (const name of given(["heatmapNeutral", "heatmapSinks"])) {
    if (flags.heatmapWords === true) throw excluding("heatmapWords", name);
  }
}

function excluding(one: keyof HeatMapFlags, other: keyof HeatMapFlags): UsageError {
  return new UsageError(`${flagOf(one)} and ${flagOf(other)} exclude each other: omit one.`);
}

/** An option as it is written: heatmapToken is --heatmap-token. */
function flagOf(name: string): string {
  return `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
