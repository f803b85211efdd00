// A device that computes nothing and holds nothing: it counts the buffers that are made on it. What a load and a question allocate
// is found out by running them on it, so that there is no second list of sizes.

/** What decides how much memory a device needs: its limits, and the features that kernels are chosen by. */
export type DeviceTraits = Pick<GPUDevice, "limits" | "features" | "adapterInfo">;

/** The buffers of a {@link countingDevice}. */
export interface BufferCount {
  /** Bytes of buffers by their labels, those that are not destroyed yet. */
  readonly live: ReadonlyMap<string, number>;
  /** The most bytes that were live at once. */
  peakBytes(): number;
}

/**
 * A device with the traits of another on which programs can be prepared, but not run: buffers have a size and no contents (they
 * read as zeros), pipelines are never compiled.
 */
export function countingDevice({ limits, features, adapterInfo }: DeviceTraits): {
  readonly device: GPUDevice;
  readonly count: BufferCount;
} {
  const live = new Map<string, number>();
  let bytes = 0;
  let peakBytes = 0;
  const add = (label: string, change: number) => {
    const left = (live.get(label) ?? 0) + change;
    if (left === 0) live.delete(label);
    else live.set(label, left);
    bytes += change;
    peakBytes = Math.max(peakBytes, bytes);
  };
  const createBuffer = ({ label = "", size }: GPUBufferDescriptor) => {
    let isLive = true;
    add(label, size);
    return {
      label,
      size,
      destroy() {
        if (isLive) add(label, -size);
        isLive = false;
      },
      mapAsync: async () => undefined,
      getMappedRange: () => new ArrayBuffer(size),
      unmap: () => undefined,
    };
  };
  const nothing = () => ({});
  const device = {
    limits,
    features,
    adapterInfo,
    lost: new Promise(() => undefined),
    queue: { writeBuffer: () => undefined },
    createBuffer,
    createShaderModule: nothing,
    createBindGroupLayout: nothing,
    createPipelineLayout: nothing,
    createBindGroup: nothing,
    createComputePipelineAsync: async () => ({}),
    pushErrorScope: () => undefined,
    popErrorScope: async () => null,
  };
  // Only what preparing programs touches: anything else is missing and would throw.
  return { device: device as unknown as GPUDevice, count: { live, peakBytes: () => peakBytes } };
}
