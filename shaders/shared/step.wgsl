// What one forward call of the decoder changes: positions, the shared prefix, the image span and its factors.
struct Step {
  positionStart: u32,  // position of row 0
  positionStep: u32,   // 1: rows follow each other in one sequence; 0: rows are a batch at one position
  prefixLength: u32,   // cache slots that all rows of a batch share
  tailStride: u32,     // cache slots from one batch row's own tail to the next one's
  spanStart: u32,      // image columns [spanStart, spanEnd)
  spanEnd: u32,
  scaledStart: u32,    // query positions [scaledStart, scaledEnd) whose image scores are scaled
  scaledEnd: u32,
  headMask: vec4<u32>, // bit h: head h is scaled (up to 128 heads)
  factors: array<vec4<f32>, 8>, // one factor a batch row (up to 32)
}
@group(0) @binding(8) var<uniform> step: Step;

fn rowPosition(row: u32) -> u32 {
  return step.positionStart + row * step.positionStep;
}

// Rows of one sequence (positionStep 1) all belong to batch row 0.
fn batchRow(row: u32) -> u32 {
  return select(row, 0u, step.positionStep == 1u);
}

fn cacheSlot(position: u32, row: u32) -> u32 {
  return position + select(0u, batchRow(row) * step.tailStride, position >= step.prefixLength);
}

// The factor of image columns for this query row and head: 1 outside the scaled rows and heads.
fn imageFactor(row: u32, head: u32) -> f32 {
  let position = rowPosition(row);
  let scaledRow = position >= step.scaledStart && position < step.scaledEnd;
  let scaledHead = ((step.headMask[head / 32u] >> (head % 32u)) & 1u) == 1u;
  let batch = batchRow(row);
  return select(1.0, step.factors[batch / 4u][batch % 4u], scaledRow && scaledHead);
}

fn inSpan(key: u32) -> bool {
  return key >= step.spanStart && key < step.spanEnd;
}
