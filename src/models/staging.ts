// Writes to GPU buffers that do not run ahead of the GPU. What is written is copied into staging memory first, which is freed once the
// GPU has copied it on: without waiting, a source that is faster than the GPU would fill the memory of the machine with copies.
import type { Gpu } from "../gpu/device.ts";

/** The most bytes written to the GPU between two waits for it; a single larger write is waited for by itself. */
export const STAGING_BYTES = 16 * 1024 * 1024;

/** Writes the data of one load; any number of writers may share it. */
export class Staging {
  private readonly gpu: Gpu;
  /** Bytes that the GPU may not have copied yet. */
  private numWaiting = 0;
  /** Of them, those written since the last wait began. */
  private numNew = 0;
  private wait: Promise<void> | undefined;

  constructor(gpu: Gpu) {
    this.gpu = gpu;
  }

  /**
   * Writes `data` at `byteOffset` of `buffer`, once there is room for it in the staging memory.
   * @throws GpuError `out-of-memory` or `device-lost`, also for an earlier write.
   */
  async write(buffer: GPUBuffer, data: Uint8Array<ArrayBuffer>, byteOffset = 0): Promise<void> {
    const { gpu } = this;
    const { byteLength } = data;
    while (this.numWaiting > 0 && this.numWaiting + byteLength > STAGING_BYTES) await this.waitForGpu();
    this.numWaiting += byteLength;
    this.numNew += byteLength;
    gpu.throwIfDisposed(); // its buffers are gone
    gpu.watched({ label: `the copy of ${buffer.label}`, byteLength }, () => gpu.write(buffer, data, byteOffset));
    // Begun at half of the room, so that the next chunks are read while the GPU copies these.
    if (this.numNew >= STAGING_BYTES / 2) this.waitForGpu().catch(() => undefined); // the next write reports it
  }

  /** Waits until the GPU has copied everything. @throws as {@link Staging.write}. */
  async flush(): Promise<void> {
    while (this.numWaiting > 0) await this.waitForGpu();
    await this.gpu.settled();
  }

  private waitForGpu(): Promise<void> {
    this.wait ??= this.waitOnce().finally(() => {
      this.wait = undefined;
    });
    return this.wait;
  }

  private async waitOnce(): Promise<void> {
    const { gpu } = this;
    const { queue } = gpu.device;
    const numBytes = this.numNew;
    this.numNew = 0;
    queue.submit([]); // some hosts begin copies at the next submit only
    await queue.onSubmittedWorkDone();
    this.numWaiting -= numBytes;
    gpu.throwIfLost();
    await gpu.settled();
  }
}
