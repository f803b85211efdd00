// Keys and values in f32. Appended to every attention kernel; `slot` is the first element of a head's slot, `d` counts vec4s
// along headDim.
@group(0) @binding(1) var<storage, read> keys: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> values: array<vec4<f32>>;

// Elements from one slot of a head to the next, for kernels that are not given that stride.
fn slotStride() -> u32 {
  return params.headDim4;
}

fn loadKey(slot: u32, d: u32) -> vec4<f32> {
  return keys[slot + d];
}

fn loadValue(slot: u32, d: u32) -> vec4<f32> {
  return values[slot + d];
}
