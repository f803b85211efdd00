// A program of a test as the page tells of it: what it reads, and how long the GPU takes for it.
import type { PreparedProgram } from "../../../../src/gpu/prepared-program.ts";
import { type Binding, type DispatchCommand, isDispatch } from "../../../../src/gpu/program.ts";

/** First values of a buffer. */
export interface FirstValues {
  readonly binding: string;
  /** As the shader declares it. */
  readonly type: string;
  readonly values: readonly number[];
}

/** How long a program takes. */
export interface ProgramTime {
  /** Of one run. */
  readonly microseconds: number;
  /** Runs that this is the mean of. */
  readonly repetitions: number;
  /** Whether the GPU's clock has measured it; otherwise the time until the page heard of the end, divided by the runs. */
  readonly isGpuTime: boolean;
}

/** One program that a test ran. */
export interface ProgramRun {
  readonly dispatches: readonly { readonly kernel: string; readonly grid: readonly number[] }[];
  /** Of the buffers that it only reads, and of those that it writes. */
  readonly inputs: readonly FirstValues[];
  readonly outputs: readonly FirstValues[];
  /** Undefined for a program that copies, and where none was asked for. */
  readonly time: ProgramTime | undefined;
}

const NUM_FIRST_VALUES = 6;
/** How long all repetitions together should take at least: browsers round timestamps to 0.1 ms. */
const ENOUGH_MS = 20;
const MOST_REPETITIONS = 4096;

// GPUBufferUsage: Node, where this is tested, has no global of that name.
const MAP_READ = 0x1;
const COPY_SRC = 0x4;
const COPY_DST = 0x8;
const QUERY_RESOLVE = 0x200;

/** The kernels that a program calls. */
export function dispatchesOf(prepared: PreparedProgram): ProgramRun["dispatches"] {
  return calls(prepared).map(({ kernel, grid }) => ({ kernel: kernel.name, grid }));
}

/** The first values of every buffer that the program's kernels only read, or that they write, by binding. */
export async function firstValues(
  device: GPUDevice,
  prepared: PreparedProgram,
  access: "read-only-storage" | "storage",
): Promise<readonly FirstValues[]> {
  const found = new Map<string, Promise<FirstValues>>();
  for (const { kernel, call } of calls(prepared)) {
    for (const [binding, { type }] of kernel.bindings) {
      const bound = call.bindings[binding];
      if (type !== access || bound === undefined || found.has(binding)) continue;
      const { buffer } = part(bound);
      if (buffer.label.startsWith("unused")) continue;
      const declared = new RegExp(`var<[^>]*>\\s*${binding}\\s*:\\s*([^;]+);`).exec(kernel.code)?.[1] ?? "";
      const read = readStart(device, bound).then((bytes) => ({
        binding,
        type: declared,
        values: Array.from(/u32|vec\du|atomic/.test(declared) ? new Uint32Array(bytes) : typed(bytes, declared)),
      }));
      found.set(binding, read);
    }
  }
  return await Promise.all(found.values());
}

function typed(bytes: ArrayBuffer, declared: string): Int32Array | Float32Array {
  return /i32|vec\di/.test(declared) ? new Int32Array(bytes) : new Float32Array(bytes);
}

async function readStart(device: GPUDevice, bound: Binding): Promise<ArrayBuffer> {
  const { buffer, offset, size } = part(bound);
  const byteLength = Math.min(size, NUM_FIRST_VALUES * 4);
  const target = device.createBuffer({ size: byteLength, usage: MAP_READ | COPY_DST });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, offset, target, 0, byteLength);
  device.queue.submit([encoder.finish()]);
  await target.mapAsync(MAP_READ);
  const bytes = target.getMappedRange().slice(0);
  target.destroy();
  return bytes;
}

/**
 * Measures a program that has run once, by as many repetitions as take long enough. What it has written is as before afterwards:
 * kernels that work in place would change it at each run.
 */
export async function timeProgram(device: GPUDevice, prepared: PreparedProgram): Promise<ProgramTime | undefined> {
  if (prepared.commands.some((command) => !("pipeline" in command))) return undefined;
  const written = new Set<GPUBuffer>();
  for (const { kernel, call } of calls(prepared)) {
    for (const [binding, { type }] of kernel.bindings) {
      const bound = call.bindings[binding];
      if (type === "storage" && bound !== undefined) written.add(part(bound).buffer);
    }
  }
  const backups = [...written].map((buffer) => {
    const backup = device.createBuffer({ size: buffer.size, usage: COPY_SRC | COPY_DST });
    return { buffer, backup };
  });
  copyAll(device, backups, ({ buffer, backup }) => [buffer, backup]);
  try {
    let repetitions = 1;
    for (;;) {
      const { milliseconds, isGpuTime } = await repeat(device, prepared, repetitions);
      if (milliseconds >= ENOUGH_MS || repetitions === MOST_REPETITIONS) {
        return { microseconds: (milliseconds * 1000) / repetitions, repetitions, isGpuTime };
      }
      const wanted = Math.ceil((repetitions * ENOUGH_MS * 1.2) / Math.max(milliseconds, 0.1));
      repetitions = Math.min(MOST_REPETITIONS, Math.max(2 * repetitions, Math.min(wanted, 16 * repetitions)));
    }
  } finally {
    copyAll(device, backups, ({ buffer, backup }) => [backup, buffer]);
    for (const { backup } of backups) backup.destroy();
  }
}

async function repeat(
  device: GPUDevice,
  prepared: PreparedProgram,
  repetitions: number,
): Promise<{ readonly milliseconds: number; readonly isGpuTime: boolean }> {
  const hasTimestamps = device.features.has("timestamp-query");
  const querySet = hasTimestamps ? device.createQuerySet({ type: "timestamp", count: 2 }) : undefined;
  const resolved = device.createBuffer({ size: 16, usage: QUERY_RESOLVE | COPY_SRC });
  const readable = device.createBuffer({ size: 16, usage: MAP_READ | COPY_DST });
  try {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass(
      querySet && { timestampWrites: { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 } },
    );
    for (let repetition = 0; repetition < repetitions; repetition++) {
      for (const command of prepared.commands) {
        if (!("pipeline" in command)) continue;
        pass.setPipeline(command.pipeline);
        pass.setBindGroup(0, command.bindGroup);
        pass.dispatchWorkgroups(...command.command.grid);
      }
    }
    pass.end();
    if (querySet !== undefined) {
      encoder.resolveQuerySet(querySet, 0, 2, resolved, 0);
      encoder.copyBufferToBuffer(resolved, 0, readable, 0, 16);
    }
    const startMs = performance.now();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    const wallMs = performance.now() - startMs;
    if (querySet === undefined) return { milliseconds: wallMs, isGpuTime: false };
    await readable.mapAsync(MAP_READ);
    const [begin = 0n, end = 0n] = new BigUint64Array(readable.getMappedRange().slice(0));
    // Some drivers write zeros, or clocks that were reset between both.
    return end > begin && begin > 0n
      ? { milliseconds: Number(end - begin) / 1e6, isGpuTime: true }
      : { milliseconds: wallMs, isGpuTime: false };
  } finally {
    querySet?.destroy();
    resolved.destroy();
    readable.destroy();
  }
}

function copyAll<T>(
  device: GPUDevice,
  items: readonly T[],
  ends: (item: T) => readonly [from: GPUBuffer, to: GPUBuffer],
): void {
  const encoder = device.createCommandEncoder();
  for (const item of items) {
    const [from, to] = ends(item);
    encoder.copyBufferToBuffer(from, 0, to, 0, from.size);
  }
  device.queue.submit([encoder.finish()]);
}

function calls(prepared: PreparedProgram): readonly DispatchCommand[] {
  return prepared.program.commands.filter(isDispatch);
}

function part(bound: Binding): { readonly buffer: GPUBuffer; readonly offset: number; readonly size: number } {
  return "buffer" in bound ? bound : { buffer: bound, offset: 0, size: bound.size };
}
