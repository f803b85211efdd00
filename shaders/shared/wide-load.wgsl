// 16 bytes of a checkpoint's weights per load, for formats without scales. Appended with shared/wide-f32, -f16 or -bf16.
@group(0) @binding(0) var<storage, read> weight: array<vec4<u32>>;

const HAS_MINIMUM = false;

struct Packed {
  bits: vec4<u32>,
  scale: f32,   // not read: these formats have none
  minimum: f32, // not read
}

fn loadPacked(index: u32) -> Packed {
  return Packed(weight[index], 1.0, 0.0);
}
