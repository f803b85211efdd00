// Logits of early layers: every forward call leaves the last row's hidden states of chosen layers aside, and before a token is
// chosen they go through the final norm, unless it is left out, and lm_head, all in one matrix product.
import { InputError } from "../errors.ts";
import { type BufferMaker, GPU_STORAGE, type Gpu } from "../gpu/device.ts";
import { type Executor, ProgramCache } from "../gpu/executor.ts";
import { linear } from "../gpu/ops/linear.ts";
import { rmsNorm } from "../gpu/ops/norm.ts";
import { Program } from "../gpu/program.ts";
import { padTo4 } from "../gpu/tensor.ts";
import type { TextConfig } from "../models/config.ts";
import type { Decoder } from "../models/layers/decoder.ts";
import type { PlaceRequests, PlaceVisit, PlaceVisitor } from "../models/layers/places.ts";
import type { SharedDecoder } from "./shared-decoder.ts";
import type { LogitsChange } from "./token-picker.ts";

/** Which layers, and what their logits do. */
export interface EarlyExitOptions {
  /** Numbers of hidden states: 0 is the decoder's input, i the output of its i-th layer. */
  readonly layers: readonly number[];
  /** Whether the final norm is applied before lm_head. */
  readonly isNormalised: boolean;
  /** Changes the last layer's logits [V] in place, given those of each of `layers`. */
  readonly combine: (logits: Float32Array, early: readonly Float32Array[]) => void;
  readonly executor: Executor;
  /** What else is read and written in the same calls. */
  readonly places: PlaceRequests | undefined;
}

/** Hidden states of one position after several layers, and the logits that each gives. */
export interface EarlyRows {
  readonly numRows: number;
  /** [numRows, D] */
  readonly hiddenStates: GPUBuffer;
  /** [numRows, D] for the normalised ones; undefined where lm_head takes them unnormalised. */
  readonly normed: GPUBuffer | undefined;
  /** [numRows, V] */
  readonly logits: GPUBuffer;
}

/** Allocates the rows of so many layers. @throws GpuError `limit`. */
export function earlyRows(
  buffers: BufferMaker,
  text: TextConfig,
  { numRows, isNormalised }: { readonly numRows: number; readonly isNormalised: boolean },
): EarlyRows {
  const words = (label: string, columns: number) =>
    buffers.createBuffer(`early ${label}`, numRows * padTo4(columns) * 4, GPU_STORAGE);
  return {
    numRows,
    hiddenStates: words("hiddenStates", text.hiddenSize),
    normed: isNormalised ? words("normed", text.hiddenSize) : undefined,
    logits: words("logits", text.vocabSize),
  };
}

/** The logits of early layers' hidden states: final norm, unless it is left out, and lm_head. */
export function earlyLogitsProgram(
  { text, weights }: Pick<Decoder, "text" | "weights">,
  gpu: Gpu,
  rows: EarlyRows,
): Program {
  const { numRows, hiddenStates, normed, logits } = rows;
  const program = new Program("early logits");
  if (normed !== undefined) {
    rmsNorm(program.at("norm", "hidden states of early layers, normalised for the vocabulary"), {
      input: hiddenStates,
      weight: weights.norm,
      output: normed,
      numRows,
      columns: text.hiddenSize,
      eps: text.rmsNormEps,
    });
  }
  const lmHead = { layer: weights.lmHead, input: normed ?? hiddenStates, output: logits, numRows };
  linear(program.at("lm_head", "logits that the early layers give"), gpu, lmHead);
  return program;
}

/** The early layers of one answer; to be disposed of. */
export class EarlyExits implements PlaceRequests, LogitsChange {
  private readonly shared: SharedDecoder;
  private readonly options: EarlyExitOptions;
  private readonly rows: EarlyRows;
  private readonly programs = new ProgramCache();
  private readonly rowBytes: number;
  /** The rows of `rows.hiddenStates` by the place that fills them. */
  private readonly rowOf: ReadonlyMap<string, number>;

  /** @throws InputError for a list of layers that cannot be; GpuError `limit` or `out-of-memory`. */
  constructor(shared: SharedDecoder, options: EarlyExitOptions) {
    const { gpu, text } = shared;
    checkLayers(options.layers, text.numHiddenLayers);
    this.shared = shared;
    this.options = options;
    this.rowBytes = padTo4(text.hiddenSize) * 4;
    this.rowOf = new Map(options.layers.map((layer, row) => [placeOf(layer), row]));
    this.rows = earlyRows(gpu, text, { numRows: options.layers.length, isNormalised: options.isNormalised });
  }

  /** As {@link PlaceRequests.chunkEnd}. */
  chunkEnd(first: number, end: number): number {
    return this.options.places?.chunkEnd(first, end) ?? end;
  }

  /** As {@link PlaceRequests.visitor}; the last row of every call is read. */
  visitor(first: number, numRows: number): PlaceVisitor {
    const other = this.options.places?.visitor(first, numRows);
    return {
      programs: other === undefined ? this.programs : undefined,
      visit: (program, visit) => {
        other?.visit(program, visit); // first: it may write what is read here
        this.visit(program, visit);
      },
      attention: (layer) => other?.attention(layer),
    };
  }

  /** As {@link LogitsChange.apply}. */
  async apply(logits: Float32Array<ArrayBuffer>, index: number): Promise<void> {
    const { shared, rows } = this;
    const { executor, combine } = this.options;
    const record = () => earlyLogitsProgram(shared.decoder, shared.gpu, rows);
    const program = await this.programs.get(executor, "early logits", record);
    await executor.run([{ program, stage: `early logits ${index}` }]);
    const { vocabSize } = shared.text;
    const stride = padTo4(vocabSize);
    const all = new Float32Array(await shared.gpu.readBuffer(rows.logits, rows.numRows * stride * 4));
    const early = this.options.layers.map((_, row) => all.subarray(row * stride, row * stride + vocabSize));
    combine(logits, early);
  }

  /** Does nothing: the sequence's own step left the hidden states. */
  async step(): Promise<void> {}

  /** Frees the buffers and programs. */
  dispose(): void {
    const { hiddenStates, normed, logits } = this.rows;
    this.programs.dispose();
    for (const buffer of [hiddenStates, normed, logits]) {
      if (buffer !== undefined) this.shared.gpu.destroyBuffer(buffer);
    }
  }

  private visit(program: Program, { place, buffer, numRows }: PlaceVisit): void {
    const row = this.rowOf.get(place);
    if (row === undefined) return;
    const { rowBytes } = this;
    const offsets = { sourceOffset: (numRows - 1) * rowBytes, targetOffset: row * rowBytes };
    program.copy(buffer, this.rows.hiddenStates, { size: rowBytes, ...offsets });
  }
}

function checkLayers(layers: readonly number[], numLayers: number): void {
  const isLayer = (layer: number) => Number.isInteger(layer) && layer >= 0 && layer < numLayers;
  if (layers.length > 0 && layers.every(isLayer) && new Set(layers).size === layers.length) return;
  throw new InputError(
    `early layers must be different whole numbers from 0 to ${numLayers - 1}, at least one, got ${layers.join() || "none"}.`,
  );
}

/** The place at which a layer's hidden states are complete. */
function placeOf(layer: number): string {
  return layer === 0 ? "inputs_embeds" : `layers.${layer - 1}.mlp.down_proj`;
}
