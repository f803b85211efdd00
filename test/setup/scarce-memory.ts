// A device that has no memory for some buffers and writes, as real ones say so: the buffer is invalid, and the innermost scope for
// out-of-memory errors, or the device, gets the error. No test can really run a machine out of memory.

/** Something that takes memory: a buffer, or the staging memory of a write. */
export interface MemoryNeed {
  readonly kind: "buffer" | "write";
  readonly label: string;
  readonly byteLength: number;
}

/** A device short of memory. */
export interface ScarceDevice {
  readonly device: GPUDevice;
  /** All that was asked for so far, refused or not. */
  readonly needs: readonly MemoryNeed[];
}

/** `device` as one that refuses what `refuses` says; `index` counts all needs from 0. */
export function scarceDevice(device: GPUDevice, refuses: (need: MemoryNeed, index: number) => boolean): ScarceDevice {
  const needs: MemoryNeed[] = [];
  const scopes: { readonly filter: GPUErrorFilter; error: GPUError | null }[] = [];
  /** Whether memory for it is there; the error goes where a device's would. */
  const has = (need: MemoryNeed): boolean => {
    needs.push(need);
    if (!refuses(need, needs.length - 1)) return true;
    const scope = scopes.findLast(({ filter }) => filter === "out-of-memory");
    if (scope === undefined) throw new Error(`Nothing watches whether there is memory for ${need.label}.`);
    scope.error ??= { message: `Out of memory: ${need.byteLength} bytes` };
    return false;
  };
  const queue: Partial<GPUQueue> = {
    writeBuffer(buffer: GPUBuffer, ...rest: [number, GPUAllowSharedBufferSource, number?, number?]) {
      const byteLength = rest[3] ?? rest[1].byteLength;
      if (has({ kind: "write", label: buffer.label, byteLength })) device.queue.writeBuffer(buffer, ...rest);
    },
  };
  const changed: Partial<GPUDevice> = {
    queue: withChanges(device.queue, queue),
    pushErrorScope(filter) {
      scopes.push({ filter, error: null });
      device.pushErrorScope(filter);
    },
    async popErrorScope() {
      const scope = scopes.pop();
      const error = await device.popErrorScope();
      return scope?.error ?? error;
    },
    createBuffer(descriptor) {
      const { label = "", size } = descriptor;
      if (has({ kind: "buffer", label, byteLength: size })) return device.createBuffer(descriptor);
      device.pushErrorScope("validation");
      const invalid = device.createBuffer({ ...descriptor, usage: 0 });
      void device.popErrorScope();
      return invalid;
    },
  };
  return { device: withChanges(device, changed), needs };
}

/** `target` with the members of `changes` instead of its own. */
function withChanges<T extends object>(target: T, changes: Partial<T>): T {
  return new Proxy(target, {
    get(_, name) {
      const value: unknown = Reflect.get(changes, name) ?? Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
