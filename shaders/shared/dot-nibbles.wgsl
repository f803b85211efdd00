// The dot product of a group of 32 weights of 4 bits and as many inputs. Appended with shared/dot-q4 or -q4-1.
const WIDTH = 8u;           // vec4s of weights in a load
const LOADS_PER_GROUP = 1u; // loads of a group of 32

const NIBBLES = 0x0f0f0f0fu;

// A word holds eight weights: four in its bytes' low halves, the four after them in the high halves.
fn dotSteps(weights: Packed, x: Steps) -> i32 {
  let low = weights.bits & vec4<u32>(NIBBLES);
  let high = (weights.bits >> vec4<u32>(4u)) & vec4<u32>(NIBBLES);
  return dot4I8Packed(low.x, x.low.x) + dot4I8Packed(high.x, x.low.y)
    + dot4I8Packed(low.y, x.low.z) + dot4I8Packed(high.y, x.low.w)
    + dot4I8Packed(low.z, x.high.x) + dot4I8Packed(high.z, x.high.y)
    + dot4I8Packed(low.w, x.high.z) + dot4I8Packed(high.w, x.high.w);
}
