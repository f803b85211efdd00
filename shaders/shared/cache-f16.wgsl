// As shared/cache-f32, with keys and values in f16, two to a u32: unpacked without the shader-f16 feature, exactly.
@group(0) @binding(1) var<storage, read> keys: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> values: array<vec2<u32>>;

fn slotStride() -> u32 {
  return params.headDim4;
}

fn unpack(packed: vec2<u32>) -> vec4<f32> {
  return vec4<f32>(unpack2x16float(packed.x), unpack2x16float(packed.y));
}

fn loadKey(slot: u32, d: u32) -> vec4<f32> {
  return unpack(keys[slot + d]);
}

fn loadValue(slot: u32, d: u32) -> vec4<f32> {
  return unpack(values[slot + d]);
}
