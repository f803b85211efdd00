// Per layer: how much of the attention is on the picture, how it is spread there, and how well either tells right answers.
//
// Share, entropy and their AUROC are computed from the results. The overlap with object boxes needs boxes; it comes from an
// analysis of the run, where there is one.
import { at } from "../../errors.ts";
import { auroc } from "../metrics/auroc.ts";
import { verdictsOf } from "../scores.ts";
import type { ReportLine, ReportMethod, ReportRun } from "./report-run.ts";

/** One number per layer and group of answers. */
export interface LayerMean {
  readonly mean: number;
  /** Null without right answers. */
  readonly right: number | null;
  /** Null without wrong answers. */
  readonly wrong: number | null;
  /** Of the number as a predictor of right answers under the paper's rule; null where all are right or all are wrong. */
  readonly auroc: number | null;
}

/** A layer of a method. */
export interface ReportLayer {
  readonly layer: number;
  /** Share of all attention, 0 to 1. */
  readonly imageShare: LayerMean;
  /** Bits. */
  readonly imageEntropy: LayerMean;
  /** AUROC of the overlap with object boxes; null without an analysis, or where it is undefined. */
  readonly overlap: { readonly mass: number | null; readonly cosine: number | null } | null;
}

/** The part of a run's analysis that the report plots. */
export interface OverlapAnalysis {
  readonly methods: readonly {
    readonly method: string;
    readonly layers: readonly {
      readonly layer: number;
      readonly overlap: null | {
        readonly mass: { readonly auroc: number | null };
        readonly cosine: { readonly auroc: number | null };
      };
    }[];
  }[];
}

/** Per layer numbers of a method; none where its lines have none. */
export function layersOf(
  { dataSet, questions }: ReportRun,
  method: ReportMethod,
  analysis?: OverlapAnalysis,
): readonly ReportLayer[] {
  const recorded = { name: method.name, meaning: "", factor: null, answers: method.answers };
  const verdicts = verdictsOf(recorded, "paper", { questions, dataSet });
  const rows = questions.flatMap(({ id }, position) => {
    const [line, isRight] = [method.lines.get(id), at(verdicts, position)];
    return line === undefined || isRight === null ? [] : [{ line, isRight }];
  });
  const numLayers = Math.max(0, ...rows.map(({ line }) => line.imageShare?.length ?? 0));
  const analyzed = analysis?.methods.find((each) => each.method === method.name);
  return Array.from({ length: numLayers }, (_, layer) => {
    const over = (read: (line: ReportLine) => number | undefined) =>
      meanOf(
        rows.flatMap(({ line, isRight }) => {
          const value = read(line);
          return value === undefined ? [] : [{ value, isRight }];
        }),
      );
    const overlap = analyzed?.layers.find((each) => each.layer === layer)?.overlap ?? null;
    return {
      layer,
      imageShare: over(({ imageShare }) => imageShare?.[layer]),
      imageEntropy: over(({ imageEntropy }) => imageEntropy?.[layer]),
      overlap: overlap === null ? null : { mass: overlap.mass.auroc, cosine: overlap.cosine.auroc },
    };
  });
}

function meanOf(rows: readonly { readonly value: number; readonly isRight: boolean }[]): LayerMean {
  const average = (own: readonly { readonly value: number }[]) =>
    own.length === 0 ? null : own.reduce((sum, { value }) => sum + value, 0) / own.length;
  return {
    mean: average(rows) ?? 0,
    right: average(rows.filter(({ isRight }) => isRight)),
    wrong: average(rows.filter(({ isRight }) => !isRight)),
    auroc: auroc(
      rows.map(({ value }) => value),
      rows.map(({ isRight }) => isRight),
    ),
  };
}
