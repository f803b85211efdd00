// The smallest proof that a host computes: adds two arrays on its WebGPU. Runs in Node, Deno and the page alike.

const wgsl = /* wgsl */ `
  @group(0) @binding(0) var<storage, read> left: array<f32>;
  @group(0) @binding(1) var<storage, read> right: array<f32>;
  @group(0) @binding(2) var<storage, read_write> sums: array<f32>;

  @compute @workgroup_size(64)
  fn main(@builtin(global_invocation_id) id: vec3u) {
    if (id.x < arrayLength(&sums)) { sums[id.x] = left[id.x] + right[id.x]; }
  }`;

// The WebGPU specification's numbers: Node has no global GPUBufferUsage.
const [mapRead, copySource, copyTarget, storage] = [0x1, 0x4, 0x8, 0x80];
const mapModeRead = 0x1;

/** Adds 1000 pairs of numbers on the adapter and compares with the CPU's sums. */
export async function addArrays(
  adapter: GPUAdapter,
): Promise<{ readonly adapter: string; readonly wrongSums: number }> {
  const device = await adapter.requestDevice();
  const left = Float32Array.from({ length: 1000 }, (_, index) => index / 3);
  const right = Float32Array.from({ length: 1000 }, (_, index) => index * 7);
  const module = device.createShaderModule({ code: wgsl });
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module } });
  const buffers = [left, right, undefined].map((data) => {
    const buffer = device.createBuffer({ size: left.byteLength, usage: storage | copyTarget | copySource });
    if (data !== undefined) device.queue.writeBuffer(buffer, 0, data);
    return buffer;
  });
  const readback = device.createBuffer({ size: left.byteLength, usage: mapRead | copyTarget });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(Math.ceil(left.length / 64));
  pass.end();
  const sumsBuffer = buffers.at(-1);
  if (sumsBuffer !== undefined) encoder.copyBufferToBuffer(sumsBuffer, 0, readback, 0, left.byteLength);
  device.queue.submit([encoder.finish()]);
  await readback.mapAsync(mapModeRead);
  const sums = new Float32Array(readback.getMappedRange().slice(0));
  device.destroy();
  const wrongSums = sums.filter((sum, index) => sum !== Math.fround((left[index] ?? 0) + (right[index] ?? 0))).length;
  return { adapter: `${adapter.info.vendor} ${adapter.info.architecture}`, wrongSums };
}
