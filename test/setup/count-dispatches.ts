// Counts what a device is asked to compute.

/** Dispatches that the programs of `work` encode, counted at the encoder itself. */
export async function countDispatches(device: GPUDevice, work: () => Promise<void>): Promise<number> {
  const { createCommandEncoder } = device;
  let count = 0;
  device.createCommandEncoder = (descriptor) => {
    const encoder = createCommandEncoder.call(device, descriptor);
    const { beginComputePass } = encoder;
    encoder.beginComputePass = (passDescriptor) => {
      const pass = beginComputePass.call(encoder, passDescriptor);
      const { dispatchWorkgroups } = pass;
      pass.dispatchWorkgroups = (...grid) => {
        count++;
        dispatchWorkgroups.apply(pass, grid);
      };
      return pass;
    };
    return encoder;
  };
  try {
    await work();
    return count;
  } finally {
    device.createCommandEncoder = createCommandEncoder;
  }
}
