// The dot product of 16 weights quantised to 8 bits, as in weight-q8, and as many inputs. Appended with shared/matvec-sums-int8 and
// shared/wide-load-scaled.
const WIDTH = 4u;           // vec4s of weights in a load
const LOADS = 4u;           // loads with a pair of scales
const LOADS_PER_GROUP = 2u; // loads of a group of 32
const STEP_OFFSET = 0.0;    // added to each step of a weight

fn dotSteps(weights: Packed, x: Steps) -> i32 {
  return dot4I8Packed(weights.bits.x, x.low.x) + dot4I8Packed(weights.bits.y, x.low.y)
    + dot4I8Packed(weights.bits.z, x.low.z) + dot4I8Packed(weights.bits.w, x.low.w);
}
