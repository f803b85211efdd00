// Accuracies that the authors of AdaptVis published, to be shown beside a run on the same questions.
// Source: Chen et al., ICML 2025 (arXiv 2503.01773) and the project page of the method; test half, in percent. The number of VSR
// that the source calls F1 is the harmonic mean of the true positive and the true negative rate.
import type { MethodName } from "../interventions/registry.ts";
import type { DataSet } from "./datasets/dataset.ts";

/** A model that the authors evaluated. */
export type PublishedModel = (typeof PUBLISHED_MODELS)[number];

/** The models of the published table. */
export const PUBLISHED_MODELS = ["LLaVA-1.5-7B", "LLaVA-1.6"] as const;

/** Where the numbers are from, as a sentence for reports. */
export const PUBLISHED_SOURCE =
  "Published numbers: Chen et al., “Why Is Spatial Reasoning Hard for VLMs?”, ICML 2025 (arXiv 2503.01773), and the project page of the method.";

/** One number of the published table. */
export interface PublishedAccuracy {
  readonly model: PublishedModel;
  readonly method: MethodName;
  /** Right answers under the authors' rule, percent. */
  readonly accuracy: number;
  /** Only for VSR: 100 · the harmonic mean of true positive and true negative rate. */
  readonly harmonicMeanOfRates: number | null;
}

/** Order of the numbers in {@link ROWS}. */
const COLUMNS = ["Controlled_A", "Controlled_B", "COCO_one", "COCO_two", "VG_one", "VG_two", "VSR"];

type Row = readonly [model: PublishedModel, method: MethodName, accuracies: readonly number[], vsrHarmonicMean: number];

const ROWS: readonly Row[] = [
  ["LLaVA-1.5-7B", "greedy", [60.3, 73.1, 53.0, 58.2, 35.9, 40.8, 62.4], 51.3],
  ["LLaVA-1.5-7B", "vcd", [61.5, 73.4, 53.3, 58.2, 35.8, 42.5, 62.4], 50.6],
  ["LLaVA-1.5-7B", "dola", [61.2, 73.4, 53.7, 57.5, 36.2, 42.1, 62.8], 53.2],
  ["LLaVA-1.5-7B", "scaling", [64.5, 75.2, 53.6, 59.4, 42.7, 48.1, 64.9], 62.5],
  ["LLaVA-1.5-7B", "adaptvis", [84.9, 83.8, 53.6, 59.9, 42.7, 48.1, 65.0], 62.5],
  ["LLaVA-1.6", "greedy", [48.2, 63.0, 59.7, 41.8, 31.6, 7.3, 58.8], 29.4],
  ["LLaVA-1.6", "adaptvis", [98.2, 73.4, 63.1, 47.7, 35.2, 17.2, 62.7], 39.3],
];

/** The published numbers of a data set; none for a data set that the authors did not use. */
export function publishedAccuracies({ name }: Pick<DataSet, "name">): readonly PublishedAccuracy[] {
  const column = COLUMNS.indexOf(name);
  return ROWS.flatMap(([model, method, accuracies, vsrHarmonicMean]) => {
    const accuracy = accuracies[column];
    return accuracy === undefined
      ? []
      : [{ model, method, accuracy, harmonicMeanOfRates: name === "VSR" ? vsrHarmonicMean : null }];
  });
}

/** The published model that a checkpoint's name says it is; null for any other. */
export function publishedModelNamed(name: string): PublishedModel | null {
  if (/llava.*(1[._]6|next)/i.test(name)) return "LLaVA-1.6";
  return /llava.*1[._]5.*7b/i.test(name) ? "LLaVA-1.5-7B" : null;
}
