// Rules out the tokens that a grammar does not allow
// Formula: logits[first + r, v] ← −10⁹ for every v whose bit is not set; exp(−10⁹ − largest) is 0 in f32, and unlike −∞ it is finite
// Shapes: logits [rows, stride] f32 · allowed [R, ceil(V / 32)] u32, bit v % 32 of word v / 32
// Work division: one thread per logit
// Grid: (ceil(V / 64), R) workgroups of 64 threads
// Error bound: exact
// Source: arXiv 2411.15100 §2 (token masks of constrained decoding)
struct Params {
  vocabSize: u32,
  stride: u32,   // logits of a row in the buffer
  firstRow: u32, // the row of logits that the first row of bits is for
}
@group(0) @binding(0) var<storage, read> allowed: array<u32>;
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let token = id.x;
  if (token >= params.vocabSize) {
    return;
  }
  let words = (params.vocabSize + 31u) / 32u;
  if (((allowed[id.y * words + token / 32u] >> (token % 32u)) & 1u) == 1u) {
    return;
  }
  logits[(params.firstRow + id.y) * params.stride + token] = -1.0e9;
}
