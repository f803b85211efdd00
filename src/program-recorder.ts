// Records the programs that questions will run, in the order of first use, without running anything: precompile.ts asks for their
// pipelines while a model loads, warm-up.ts also runs each of them once.
import {
  chooseIntoSlotProgram,
  chooseProgram,
  type DecoderRun,
  embedPromptProgram,
  embedTokensProgram,
  type GatheredRows,
  prefillProgram,
  type StepOptions,
  stepProgram,
} from "./generate/decoder-programs.ts";
import type { CacheDtype } from "./gpu/cache-format.ts";
import { type BufferMaker, GPU_STORAGE, type Gpu } from "./gpu/device.ts";
import type { Program } from "./gpu/program.ts";
import { type ActivationDtype, padTo4 } from "./gpu/tensor.ts";
import type { Architecture, ModelWeights } from "./models/architecture.ts";
import type { TextConfig } from "./models/config.ts";
import type { Run } from "./models/inputs.ts";
import { createKeyValueCache, createScratch, createSequenceBuffers } from "./models/layers/decoder-state.ts";
import type { LlamaLayerWeights } from "./models/layers/decoder-weights.ts";
import { type PicturePass, type PictureRun, visionProgram } from "./models/layers/picture-encoder.ts";
import type { PlaceVisitor } from "./models/layers/places.ts";
import type { RowEdits } from "./models/layers/row-edits.ts";

/** The variant of a forward call's attention. */
export interface PassKind {
  /** Whether it applies score edits. */
  readonly isEdited: boolean;
  /** Whether it leaves attention to be read. */
  readonly isCaptured: boolean;
}

/** What decides which kernels a question needs; passes in the order in which they run. */
export interface QuestionNeeds {
  readonly hasImage: boolean;
  /** Passes over several rows of the prompt. */
  readonly prefills: readonly PassKind[];
  /** Passes over one row: the prompt's last again, and the generated ones. */
  readonly steps: readonly PassKind[];
  readonly repetitionPenalty: number;
  readonly topK: number;
  /** Early layers whose logits a contrast takes; a warm-up prepares for them, a load does not. */
  readonly numEarlyLayers?: number | undefined;
  /** Whether its edits have row strengths, and sinks; a warm-up prepares for them, a load does not. */
  readonly rowEdits?: { readonly hasSinks: boolean } | undefined;
}

/** Makes the row edits of a recorded question; `buffer` stands for what they bind beside the decoder's. */
export type MakeRowEdits = (text: TextConfig, hasSinks: boolean, buffer: GPUBuffer) => RowEdits;

/** What programs are recorded of. */
export interface RecordedModel {
  readonly architecture: Architecture;
  /** Allocated; their values are not read. */
  readonly weights: ModelWeights;
  /** Rows of a chunk of a prompt. */
  readonly chunkRows: number;
  /** How keys and values are stored. */
  readonly kvDtype: CacheDtype;
  /** How a decode step's linear layers with quantised weights read their input. */
  readonly activationDtype: ActivationDtype;
}

/** A pass without either. */
export const PLAIN: PassKind = { isEdited: false, isCaptured: false };

/** Records the programs of a model that nothing is asked yet. */
export class ProgramRecorder {
  private readonly gpu: Gpu;
  private readonly text: TextConfig;
  /** The decoder, with the buffers that programs bind. */
  readonly run: DecoderRun;
  private readonly capture: PlaceVisitor;
  private readonly image: GatheredRows;
  private readonly vision: { readonly pass: PicturePass; readonly run: PictureRun } | undefined;
  private readonly chunkRows: number;
  /** Whether a question about a picture takes more than one chunk. */
  private readonly isLong: boolean = false;

  /** @param buffers makes what the programs bind; its buffers may be placeholders where nothing is run */
  constructor(gpu: Gpu, buffers: BufferMaker, model: RecordedModel & { readonly batchRows: number }) {
    const { architecture, weights, chunkRows, kvDtype, activationDtype, batchRows } = model;
    const { llama, pictures } = weights;
    const layers = distinctLayers(llama.layers);
    const text = { ...architecture.config.text, numHiddenLayers: layers.length };
    const numRows = Math.max(chunkRows, batchRows);
    const capacity = Math.max(CACHE_SLOTS, numRows);
    const words = (count: number) => buffers.createBuffer("recorded", count * 4, GPU_STORAGE);
    const row = padTo4(text.hiddenSize);
    this.gpu = gpu;
    this.chunkRows = chunkRows;
    this.text = text;
    this.run = {
      decoder: {
        text,
        weights: { ...llama, layers },
        scratch: createScratch(buffers, text, {
          numRows,
          promptRows: chunkRows,
          batchRows,
          editBytes: EDIT_BYTES,
          activationDtype,
        }),
      },
      cache: createKeyValueCache(buffers, text, { capacity, dtype: kvDtype }),
      own: createSequenceBuffers(buffers, text, batchRows),
    };
    this.image = { features: words(row), index: words(1), filler: words(row), start: 0, numRows: 1 };
    const rows = text.numAttentionHeads * capacity;
    const captured = { scores: words(rows), probs: words(rows), rows: [0, 1] as const, stride: capacity };
    this.capture = { visit: () => undefined, attention: () => captured };
    if (pictures === undefined) return;
    const recipe = pictures.forGrid?.(RECORDED_GRID) ?? pictures;
    const { tileLength, featuresPerTile, featureLevels = 1 } = recipe;
    const imageFeatures = words(featureLevels * featuresPerTile * row);
    const lists = { outputRow: words(1), index: words(4), weights: words(4) };
    const combined = { ...lists, source: imageFeatures, output: words(row), rowStart: 0, numRows: 1, columns: row };
    this.vision = {
      pass: recipe.open(gpu, buffers),
      run: {
        pixels: words(tileLength),
        tile: 0,
        imageFeatures,
        featureRow: 0,
        combined: pictures.hasFeatureGrids === true ? combined : undefined,
      },
    };
    this.isLong = featuresPerTile + TEXT_ROWS > chunkRows;
  }

  /**
   * The programs of one question, in the order in which it runs them.
   * @param rowCounts rows that a chunk of its prompt may have
   * @param makeRowEdits for questions whose edits have row strengths
   */
  *question(needs: QuestionNeeds, rowCounts: readonly number[], makeRowEdits?: MakeRowEdits): Generator<Program> {
    const { run, vision } = this;
    const rowEdits = needs.rowEdits && makeRowEdits?.(this.text, needs.rowEdits.hasSinks, this.image.features);
    const { vocabSize } = this.text;
    const { own } = run;
    const hasImage = needs.hasImage && vision !== undefined;
    if (hasImage) yield visionProgram(vision.pass, vision.run);
    yield embedPromptProgram(run.decoder, this.chunkRows, hasImage ? [this.image] : []);
    yield* this.prefills(needs.prefills, { rowCounts, rowEdits });
    yield chooseIntoSlotProgram(own, { vocabSize, slot: own.choice });
    const { repetitionPenalty, topK } = needs;
    if (repetitionPenalty !== 1 || topK > 0) yield chooseProgram(own, { vocabSize, repetitionPenalty, topK });
    yield embedTokensProgram(run, 1);
    for (const kind of needs.steps) yield this.step(kind, 1, { rowEdits });
  }

  /** Chunks of a prompt; only the last of them is captured. */
  private *prefills(
    passes: readonly PassKind[],
    { rowCounts, rowEdits }: { readonly rowCounts: readonly number[]; readonly rowEdits: RowEdits | undefined },
  ): Generator<Program> {
    const { gpu, run, isLong, vision } = this;
    const imageRuns: readonly Run[] = vision === undefined ? [] : [[0, 1]];
    const kinds = passes.flatMap((kind) =>
      kind.isCaptured && isLong ? [{ ...kind, isCaptured: false }, kind] : [kind],
    );
    for (const { isEdited, isCaptured } of kinds) {
      const places = isCaptured ? this.capture : undefined;
      for (const numRows of rowCounts) {
        yield prefillProgram(run, gpu, { isEdited, rowEdits, places, start: 0, numRows, hasLogits: true, imageRuns });
      }
    }
  }

  /** A decode step of so many batch rows. */
  step(
    { isEdited, isCaptured }: PassKind,
    numRows: number,
    { rowEdits, raggedKeys }: Pick<StepOptions, "rowEdits" | "raggedKeys"> = {},
  ): Program {
    const places = isCaptured ? this.capture : undefined;
    return stepProgram(this.run, this.gpu, {
      isEdited,
      rowEdits,
      places,
      label: stepLabel(isEdited, numRows),
      numRows,
      raggedKeys,
    });
  }
}

/** "edited step of 6 rows". */
function stepLabel(isEdited: boolean, numRows: number): string {
  return `${isEdited ? "edited step" : "step"}${numRows === 1 ? "" : ` of ${numRows} rows`}`;
}

/** Cache slots that programs are recorded for: those of a short question. */
const CACHE_SLOTS = 256;

/** Room for no edits: the headers of all batch rows. */
const EDIT_BYTES = 4096;

/** A small picture of a model that takes any shape: kernels are the same for larger ones. */
const RECORDED_GRID = { width: 4, height: 4 };

/** Text positions that an expected question is taken to have. */
const TEXT_ROWS = 32;

/** One layer for each form that layers have: all of a checkpoint's share theirs, unless their dtypes differ. */
function distinctLayers(layers: readonly LlamaLayerWeights[]): readonly LlamaLayerWeights[] {
  const byForm = new Map<string, LlamaLayerWeights>();
  for (const layer of layers) {
    const linears = [layer.selfAttn.qkvProj, layer.selfAttn.oProj, layer.mlp.gateUpProj, layer.mlp.downProj];
    const form = linears.map(({ weight, bias }) => [weight.dtype, weight.pieces.length, bias !== undefined].join(" "));
    const key = form.join(", ");
    if (!byForm.has(key)) byForm.set(key, layer);
  }
  return [...byForm.values()];
}
