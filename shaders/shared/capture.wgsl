// Which rows of a call write their attention scores and probabilities to `scores` and `probs` [rows, H, captureStride]: rows
// [captureStart, captureEnd) of the call, in rows captureTarget, … of the buffers. Appended to every attention kernel; its
// Params have these members and `numHeads`.
override CAPTURE: bool;

fn isCaptured(row: u32) -> bool {
  return CAPTURE && row >= params.captureStart && row < params.captureEnd;
}

// Where the scores of a captured row and head begin.
fn captureOffset(row: u32, head: u32) -> u32 {
  return ((params.captureTarget + row - params.captureStart) * params.numHeads + head) * params.captureStride;
}
