// Packs chunks of rows into quantised matrices on the GPU: the checkpoint's bytes go into a buffer of one chunk,
// and a kernel writes steps and scales from there.
import { GPU_STORAGE, type Gpu } from "../gpu/device.ts";
import { type Executor, runOnce, SubmitExecutor } from "../gpu/executor.ts";
import { quantize } from "../gpu/ops/linear.ts";
import { Program } from "../gpu/program.ts";
import type { FloatDtype, MatrixPiece, QuantizedDtype } from "../gpu/tensor.ts";
import type { Staging } from "./staging.ts";

/** Quantises the rows of one load; {@link dispose} frees what it holds on the GPU. */
export class Quantizer {
  private readonly gpu: Gpu;
  private readonly staging: Staging;
  private readonly executor: Executor;
  private source: GPUBuffer | undefined;
  private problem: GPUBuffer | undefined;

  constructor(gpu: Gpu, staging: Staging) {
    this.gpu = gpu;
    this.staging = staging;
    this.executor = new SubmitExecutor(gpu);
  }

  /**
   * Writes rows into `piece` from `rowStart` of it on, a multiple of 4.
   * @param bytes rows of `columns` weights, a multiple of 4, in `sourceDtype`
   * @throws GpuError `out-of-memory`.
   */
  async pack(
    bytes: Uint8Array<ArrayBuffer>,
    rows: {
      readonly sourceDtype: FloatDtype;
      readonly dtype: QuantizedDtype;
      readonly numRows: number;
      readonly columns: number;
      readonly piece: MatrixPiece;
      readonly rowStart: number;
    },
  ): Promise<void> {
    const { piece, ...shape } = rows;
    const source = await this.sourceOf(bytes.byteLength);
    this.problem ??= this.gpu.createBuffer("quantize problem", 4, GPU_STORAGE);
    await this.staging.write(source, bytes);
    const program = new Program("quantize");
    const target = { steps: piece.buffer, scales: piece.scales ?? this.gpu.unusedOutputs[0] };
    quantize(program, { ...shape, source, target, problem: this.problem });
    await runOnce(this.executor, program, "quantize");
  }

  /** Whether a weight packed so far is not finite or needs a scale that no f16 is; waits for the GPU. */
  async hasProblem(): Promise<boolean> {
    if (this.problem === undefined) return false;
    return new Uint32Array(await this.gpu.readBuffer(this.problem, 4))[0] !== 0;
  }

  /** Frees the buffers. */
  dispose(): void {
    for (const buffer of [this.source, this.problem]) {
      if (buffer !== undefined) this.gpu.destroyBuffer(buffer);
    }
    this.source = undefined;
    this.problem = undefined;
  }

  private async sourceOf(byteLength: number): Promise<GPUBuffer> {
    if (this.source !== undefined && this.source.size >= byteLength) return this.source;
    if (this.source !== undefined) this.gpu.destroyBuffer(this.source);
    this.source = this.gpu.createBuffer("quantize source", byteLength, GPU_STORAGE);
    await this.gpu.settled();
    return this.source;
  }
}
