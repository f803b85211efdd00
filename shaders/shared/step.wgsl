// The positions of one forward call's rows in the key/value cache.
struct Step {
  slotStart: u32,    // slot of row 0
  slotStep: u32,     // 1: the rows are one sequence; 0: the rows are a batch, one per sequence, all at the same slot
  prefixLength: u32, // slots that all rows of a batch share
  tailStride: u32,   // cache slots from the tail of one batch row to that of the next
}
@group(0) @binding(8) var<uniform> step: Step;

// A row's slot in its sequence: the row attends to it and to all slots before it.
fn rowSlot(row: u32) -> u32 {
  return step.slotStart + row * step.slotStep;
}

// The rows of one sequence (slotStep 1) all belong to batch row 0.
fn batchRow(row: u32) -> u32 {
  return select(row, 0u, step.slotStep == 1u);
}

// Where the cache holds a slot of the row's sequence.
fn cacheSlot(slot: u32, row: u32) -> u32 {
  return slot + select(0u, batchRow(row) * step.tailStride, slot >= step.prefixLength);
}
