// Weights of a checkpoint whose rows are not a whole number of 16-byte loads: four at a time. Appended with shared/weight-*.
const WIDTH = 1u;   // vec4s of weights in a load
const OFFSET = 0.0; // added to each unpacked weight
const HAS_MINIMUM = false;

struct Packed {
  four: vec4<f32>,
  scale: f32,   // not read
  minimum: f32, // not read
}

fn loadPacked(index: u32) -> Packed {
  return Packed(loadWeight(index), 1.0, 0.0);
}

// Vec4 `part` of a load.
fn unpackPart(packed: Packed, part: u32) -> vec4<f32> {
  return packed.four;
}
