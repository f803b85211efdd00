// Scripts that run before the page's or the worker's own and change what WebGPU says, to bring about what is rare.

/** The browser has no WebGPU. For page and worker. */
export const withoutWebGpu = `delete Object.getPrototypeOf(navigator).gpu;`;

/** It has WebGPU and finds no adapter. For page and worker. */
export const withoutAdapter = `GPU.prototype.requestAdapter = async () => null;`;

/** It finds no adapter the first time that it is asked; `globalThis.numAdaptersAsked` counts. For the worker. */
export const adapterAtSecondAsk = `{
  const { requestAdapter } = GPU.prototype;
  globalThis.numAdaptersAsked = 0;
  GPU.prototype.requestAdapter = async function (options) {
    return numAdaptersAsked++ === 0 ? null : requestAdapter.call(this, options);
  };
}`;

/** Every buffer of 64 KiB or more fails for want of memory, as Dawn reports it. For the worker. */
export const withoutMemory = `{
  const { pushErrorScope, popErrorScope, createBuffer } = GPUDevice.prototype;
  const scopes = new WeakMap();
  const scopesOf = (device) => {
    if (!scopes.has(device)) scopes.set(device, []);
    return scopes.get(device);
  };
  GPUDevice.prototype.pushErrorScope = function (filter) {
    scopesOf(this).push({ filter, error: null });
    return pushErrorScope.call(this, filter);
  };
  GPUDevice.prototype.popErrorScope = async function () {
    const scope = scopesOf(this).pop();
    const error = await popErrorScope.call(this);
    return scope?.error ?? error;
  };
  GPUDevice.prototype.createBuffer = function (descriptor) {
    const buffer = createBuffer.call(this, descriptor);
    if (descriptor.size >= 2 ** 16) {
      const scope = scopesOf(this).findLast(({ filter }) => filter === "out-of-memory");
      const error = new GPUOutOfMemoryError("Out of memory: " + descriptor.size + " bytes");
      if (scope) scope.error ??= error;
      else this.dispatchEvent(new GPUUncapturedErrorEvent("uncapturederror", { error }));
    }
    return buffer;
  };
}`;

/** Keeps the worker's devices in \`globalThis.devices\`, so that a test can destroy one. For the worker. */
export const keepsDevices = `{
  globalThis.devices = [];
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (descriptor) {
    const device = await requestDevice.call(this, descriptor);
    globalThis.devices.push(device);
    return device;
  };
}`;

/** Counts the workgroups of compute passes by label in `globalThis.workgroups`: "vision", "prefill" … For the worker. */
export const countsWorkgroups = `{
  globalThis.workgroups = {};
  const labels = new WeakMap();
  const { beginComputePass } = GPUCommandEncoder.prototype;
  const { dispatchWorkgroups } = GPUComputePassEncoder.prototype;
  GPUCommandEncoder.prototype.beginComputePass = function (descriptor) {
    const pass = beginComputePass.call(this, descriptor);
    labels.set(pass, descriptor?.label ?? "");
    return pass;
  };
  GPUComputePassEncoder.prototype.dispatchWorkgroups = function (x, y = 1, z = 1) {
    const label = labels.get(this);
    workgroups[label] = (workgroups[label] ?? 0) + x * y * z;
    return dispatchWorkgroups.call(this, x, y, z);
  };
}`;

/**
 * `gate.hold()` keeps the engine waiting at its next readback until `gate.release()`; `gate.waiting` says whether it is there,
 * `gate.messages` how many messages of the page have come. So a test acts in the middle of a question however fast the machine
 * is. For the worker.
 */
export const gatesReadbacks = `{
  let opened = Promise.resolve();
  let open = () => undefined;
  globalThis.gate = {
    waiting: 0,
    messages: 0,
    hold() { opened = new Promise((resolve) => { open = resolve; }); },
    release() { open(); },
  };
  addEventListener("message", () => { gate.messages++; });
  const { mapAsync } = GPUBuffer.prototype;
  GPUBuffer.prototype.mapAsync = async function (...options) {
    gate.waiting++;
    await opened;
    gate.waiting--;
    return mapAsync.apply(this, options);
  };
}`;

/** Keeps the size of every Blob that is read in `globalThis.readBytes`, and how many bitmaps were made. For the worker. */
export const watchesBlobs = `{
  globalThis.readBytes = [];
  globalThis.numBitmaps = 0;
  for (const method of ["arrayBuffer", "bytes", "text", "stream"]) {
    const read = Blob.prototype[method];
    if (read === undefined) continue;
    Blob.prototype[method] = function (...options) {
      readBytes.push(this.size);
      return read.apply(this, options);
    };
  }
  const { createImageBitmap } = globalThis;
  globalThis.createImageBitmap = (...options) => {
    numBitmaps++;
    return createImageBitmap(...options);
  };
}`;

/** Counts the device's buffers that were not destroyed, and their bytes, in `globalThis`. For the worker. */
export const countsBuffers = `{
  Object.assign(globalThis, { bufferBytes: 0, numBuffers: 0 });
  const sizes = new WeakMap();
  const { createBuffer } = GPUDevice.prototype;
  const { destroy } = GPUBuffer.prototype;
  GPUDevice.prototype.createBuffer = function (descriptor) {
    const buffer = createBuffer.call(this, descriptor);
    sizes.set(buffer, descriptor.size);
    bufferBytes += descriptor.size;
    numBuffers++;
    return buffer;
  };
  GPUBuffer.prototype.destroy = function () {
    const size = sizes.get(this);
    if (sizes.delete(this)) {
      bufferBytes -= size;
      numBuffers--;
    }
    return destroy.call(this);
  };
}`;

/** Lets every adapter wait until `releaseAdapter()`. For the worker. */
export const holdsAdapter = `{
  const { requestAdapter } = GPU.prototype;
  const released = new Promise((resolve) => { globalThis.releaseAdapter = resolve; });
  GPU.prototype.requestAdapter = async function (options) {
    await released;
    return requestAdapter.call(this, options);
  };
}`;

/** The browser has a camera, which sees a mug-brown rectangle. For the page. */
export const hasCamera = `navigator.mediaDevices.getUserMedia = async () => {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: 320, height: 240 });
  const painter = canvas.getContext("2d");
  const paint = () => {
    painter.fillStyle = "#7a4a2a";
    painter.fillRect(0, 0, 320, 240);
    requestAnimationFrame(paint); // a stream has a frame whenever its canvas is painted
  };
  paint();
  return canvas.captureStream();
};`;

/** Keeps in \`globalThis.shifts\` what moved by itself: elements with how far, of layout shifts without a person's input. For the page. */
export const countsShifts = `globalThis.shifts = [];
new PerformanceObserver((list) => {
  for (const { value, hadRecentInput, sources } of list.getEntries()) {
    if (hadRecentInput) continue;
    const places = sources.map(({ node, previousRect, currentRect }) =>
      [node?.nodeName, node?.className, node?.data, "from", JSON.stringify(previousRect), "to", JSON.stringify(currentRect)].join(" "));
    shifts.push(value + ": " + places.join(", "));
  }
}).observe({ type: "layout-shift", buffered: true });`;
