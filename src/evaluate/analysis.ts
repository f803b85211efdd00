// The paper's analysis of a run: attention on the picture per layer, its overlap with the objects' boxes, and how well the
// overlap of each layer and head tells right answers from wrong ones.
//
// Source: Chen et al., ICML 2025 (arXiv 2503.01773), the sections on attention per layer and on familiar relations.
import { at, InputError } from "../errors.ts";
import { type AttentionLine, type RecordedOverlap, readAttentionLines } from "./answers/attention-lines.ts";
import { areSampleLines } from "./answers/sample-lines.ts";
import { readWholeRuns } from "./compare-runs.ts";
import type { DataSet, Question } from "./datasets/dataset.ts";
import { readQuestions } from "./datasets/question-files.ts";
import { auroc } from "./metrics/auroc.ts";
import {
  type CorpusCounts,
  compareFamiliarity,
  type Familiarity,
  type FamiliarityGroup,
  familiarityOf,
} from "./metrics/familiarity.ts";
import type { BoxIdentity } from "./metrics/question-boxes.ts";
import type { NamedText } from "./rescore.ts";
import { verdictsOf } from "./scores.ts";
import { RULES, type RuleName } from "./verdicts.ts";

/** What to analyse. */
export interface AnalysisRequest {
  readonly dataSet: DataSet;
  /** The run's results.jsonl. */
  readonly results: NamedText;
  readonly questions: NamedText;
  readonly rule: RuleName;
  /** How the run used its boxes; undefined for a run without boxes. */
  readonly boxes?: BoxIdentity | undefined;
  /** Counts of the relations in a training corpus, which then decide what is familiar. */
  readonly corpus?: CorpusCounts | undefined;
}

/** The analysis of a run, all of it plain JSON. */
export interface RunAnalysis {
  /** The results file. */
  readonly file: string;
  readonly dataSet: string;
  readonly rule: RuleName;
  /** Null for a run without boxes. */
  readonly boxes: BoxFacts | null;
  readonly methods: readonly MethodAnalysis[];
  /** What the names in the analysis mean. */
  readonly definitions: Readonly<Record<string, string>>;
}

/** Which questions of a run have boxes. */
export interface BoxFacts {
  /** Number of answered questions. */
  readonly numQuestions: number;
  /** Number of those with an overlap. */
  readonly numWithBoxes: number;
  readonly numWithoutBoxes: number;
  readonly settings: BoxIdentity;
}

/** The analysis of a run's answers under one method. */
export interface MethodAnalysis {
  readonly method: string;
  readonly numRight: number;
  readonly numWrong: number;
  /** Number of lines that the rule cannot judge, which are left out. */
  readonly numUnjudged: number;
  /** Number of judged lines without attention on the picture, such as lines of text-only questions. */
  readonly numWithoutAttention: number;
  /** The share of the grid that the boxes cover, as a baseline of the overlaps; null where no judged line has an overlap. */
  readonly coverage: OverlapMeasure | null;
  /** In order; empty where no line has attention. */
  readonly layers: readonly LayerAnalysis[];
  /** Familiar and unfamiliar relations; empty where the questions have no relations. */
  readonly familiarity: readonly FamiliarityAnalysis[];
}

/** One layer under one method. */
export interface LayerAnalysis {
  readonly layer: number;
  readonly imageShare: ByVerdict;
  /** Bits. */
  readonly imageEntropy: ByVerdict;
  /** Null where no judged line has an overlap. */
  readonly overlap: LayerOverlap | null;
}

/** Means over all judged lines, over right and over wrong ones; null over none. */
export interface ByVerdict {
  readonly mean: number | null;
  readonly right: number | null;
  readonly wrong: number | null;
}

/** Overlap of a layer's attention with the boxes, in both definitions. */
export interface LayerOverlap {
  readonly mass: OverlapMeasure;
  readonly cosine: OverlapMeasure;
  /** AUROC of each head's own overlap; null where it is undefined. */
  readonly heads: { readonly mass: readonly (number | null)[]; readonly cosine: readonly (number | null)[] };
}

/** A measure of the lines with an overlap: the overlap of a layer's map, the mean over its heads, or the coverage. */
export interface OverlapMeasure extends ByVerdict {
  /** Number of judged lines with an overlap. */
  readonly n: number;
  /** Null where all lines with an overlap are right, or all wrong. */
  readonly auroc: number | null;
}

/** The relations of one class under one method. */
export interface FamiliarityAnalysis extends FamiliarityGroup {
  readonly familiarity: Familiarity;
  readonly layers: readonly FamiliarityLayer[];
}

/** One layer over the relations of one class. */
export interface FamiliarityLayer {
  readonly layer: number;
  readonly imageShare: ByVerdict;
  readonly imageEntropy: ByVerdict;
  readonly overlap: { readonly mass: OverlapMeasure; readonly cosine: OverlapMeasure } | null;
}

/** A judged line with its question. */
interface Row {
  readonly line: AttentionLine;
  readonly question: Question;
  readonly isRight: boolean;
  /** Of the unmodified pass over the question, of whichever method ran one. */
  readonly confidence: number | null;
}

/**
 * Analyses a run.
 * @throws InputError when the results are no sample lines, do not belong to the questions or have malformed attention, or when
 *   the corpus counts lack a relation.
 */
export function analyzeRun(request: AnalysisRequest): RunAnalysis {
  const { dataSet, results, rule, corpus } = request;
  if (!areSampleLines(results.text)) {
    throw new InputError(
      `${results.name}: expected lines that "adaptvis eval" wrote, since other results hold no attention.`,
    );
  }
  const questions = readQuestions(request.questions.text, request.questions.name, dataSet);
  const lines = readAttentionLines(results.text, results.name);
  const confidences = new Map(
    lines.flatMap(({ id, confidence }) => (confidence === null ? [] : [[id, confidence] as const])),
  );
  const methods = readWholeRuns(results, { dataSet, questions, split: "all" }).map(({ run, recorded }) => {
    const verdicts = verdictsOf(recorded, rule, { questions, dataSet });
    const own = lines.filter(({ method }) => method === run);
    const rows = own.flatMap((line): Row[] => {
      const isRight = verdicts[line.id] ?? null;
      const confidence = confidences.get(line.id) ?? null;
      return isRight === null ? [] : [{ line, question: at(questions, line.id), isRight, confidence }];
    });
    return analyzeMethod(rows, { method: run, numUnjudged: own.length - rows.length, corpus });
  });
  const { boxes: settings } = request;
  const asked = new Set(lines.map(({ id }) => id));
  const withBoxes = new Set(lines.flatMap(({ id, overlap }) => (overlap === null ? [] : [id])));
  return {
    file: results.name,
    dataSet: dataSet.name,
    rule,
    boxes:
      settings === undefined
        ? null
        : {
            numQuestions: asked.size,
            numWithBoxes: withBoxes.size,
            numWithoutBoxes: asked.size - withBoxes.size,
            settings,
          },
    methods,
    definitions: definitionsOf(request),
  };
}

function analyzeMethod(
  rows: readonly Row[],
  of: { readonly method: string; readonly numUnjudged: number; readonly corpus: CorpusCounts | undefined },
): MethodAnalysis {
  const { method, numUnjudged, corpus } = of;
  const numRight = rows.filter(({ isRight }) => isRight).length;
  const numLayers = Math.max(0, ...rows.map(({ line }) => line.imageShare?.length ?? 0));
  const layers = Array.from({ length: numLayers }, (_, layer): LayerAnalysis => {
    const { overlap, ...own } = analyzeLayer(rows, layer);
    return { ...own, overlap: overlap && { ...overlap, heads: headsOf(rows, layer) } };
  });
  const related = rows.flatMap((row) => {
    const { relation } = row.question;
    return relation === null ? [] : [{ row, relation, isRight: row.isRight, confidence: row.confidence }];
  });
  const groups = compareFamiliarity(related, corpus);
  const coverages = measured(rows, ({ overlap }) => overlap?.coverage);
  const classes: readonly Familiarity[] = related.length === 0 ? [] : ["familiar", "unfamiliar"];
  return {
    method,
    numRight,
    numWrong: rows.length - numRight,
    numUnjudged,
    numWithoutAttention: rows.filter(({ line }) => line.imageShare === null).length,
    coverage: coverages.length === 0 ? null : overlapMeasure(coverages),
    layers,
    familiarity: classes.map((familiarity): FamiliarityAnalysis => {
      const members = related.filter(({ relation }) => familiarityOf(relation, corpus) === familiarity);
      const own = members.map(({ row }) => row);
      return {
        familiarity,
        ...groups[familiarity],
        layers: layers.map(({ layer }) => analyzeLayer(own, layer)),
      };
    }),
  };
}

function analyzeLayer(rows: readonly Row[], layer: number): FamiliarityLayer {
  const valuesOf = (read: (line: AttentionLine) => readonly number[] | null) =>
    byVerdict(measured(rows, (line) => read(line)?.[layer]));
  const overlapOf = (read: (overlap: RecordedOverlap) => readonly (number | null)[]): OverlapMeasure => {
    return overlapMeasure(measured(rows, ({ overlap }) => overlap && read(overlap)[layer]));
  };
  const hasOverlap = rows.some(({ line }) => line.overlap !== null);
  return {
    layer,
    imageShare: valuesOf(({ imageShare }) => imageShare),
    imageEntropy: valuesOf(({ imageEntropy }) => imageEntropy),
    overlap: hasOverlap
      ? { mass: overlapOf(({ layerMass }) => layerMass), cosine: overlapOf(({ layerCosine }) => layerCosine) }
      : null,
  };
}

function headsOf(rows: readonly Row[], layer: number): LayerOverlap["heads"] {
  const first = rows.find(({ line }) => line.overlap !== null)?.line.overlap;
  const numHeads = first?.mass[layer]?.length ?? 0;
  const aurocs = (kind: "mass" | "cosine") =>
    Array.from({ length: numHeads }, (_, head) =>
      aurocOf(measured(rows, ({ overlap }) => overlap?.[kind][layer]?.[head])),
    );
  return { mass: aurocs("mass"), cosine: aurocs("cosine") };
}

/** A number of a line, and whether its answer is right. */
interface Measured {
  readonly value: number;
  readonly isRight: boolean;
}

/** The numbers of the rows that have one. */
function measured(rows: readonly Row[], read: (line: AttentionLine) => number | null | undefined): readonly Measured[] {
  return rows.flatMap(({ line, isRight }) => {
    const value = read(line) ?? null;
    return value === null ? [] : [{ value, isRight }];
  });
}

function byVerdict(known: readonly Measured[]): ByVerdict {
  return {
    mean: meanOf(known),
    right: meanOf(known.filter(({ isRight }) => isRight)),
    wrong: meanOf(known.filter(({ isRight }) => !isRight)),
  };
}

function overlapMeasure(known: readonly Measured[]): OverlapMeasure {
  return { n: known.length, ...byVerdict(known), auroc: aurocOf(known) };
}

function meanOf(known: readonly Measured[]): number | null {
  return known.length === 0 ? null : known.reduce((sum, { value }) => sum + value, 0) / known.length;
}

function aurocOf(known: readonly Measured[]): number | null {
  return auroc(
    known.map(({ value }) => value),
    known.map(({ isRight }) => isRight),
  );
}

function definitionsOf({ dataSet, rule, corpus }: AnalysisRequest): Readonly<Record<string, string>> {
  const { definition } = at(
    RULES.filter(({ name }) => name === rule),
    0,
  );
  return {
    [`rule ${rule}`]: definition(dataSet),
    imageShare:
      "Attention of the last prompt token on the picture as a share of all its attention, 0 to 1: mean over the heads of the layer, in the pass that gave the answer; then mean over all answers, over right and over wrong ones.",
    imageEntropy: "Entropy of that attention within the picture, bits.",
    mass: "Attention inside the boxes of the question's objects as a share of that on the picture, 0 to 1; a patch counts by the share of its area that the boxes cover. The layer's is that of the mean over its heads.",
    cosine: "Cosine between the attention on the patches and the share of each patch that the boxes cover, 0 to 1.",
    coverage:
      "Share of the patches' area that the boxes cover: the mass of an even map. Its AUROC is what the size of the objects alone gives.",
    auroc:
      "Area under the ROC curve of the overlap against the verdict: the probability that a right answer has a larger overlap than a wrong one, ties counted half; null where there are no right or no wrong answers.",
    heads:
      "The same for the overlap of each head by itself. The best of many heads is above 0.5 by chance too, more so with few wrong answers: confirm it on other questions.",
    withoutBoxes:
      "Questions without an overlap, which are left out of its numbers: the source has no box of their objects, or the boxes are outside of what the model sees.",
    familiarity:
      corpus === undefined
        ? "Relations with the word left or right are familiar, all others unfamiliar."
        : `Relations that the corpus counts at least ${corpus.minCount} times are familiar, all others unfamiliar.`,
    meanConfidence: "Mean of the largest probability of the first token in the unmodified pass.",
  };
}
