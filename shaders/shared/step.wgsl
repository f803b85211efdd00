// The positions of one forward call's rows in the key/value cache.
struct Step {
  slotStart: u32,    // slot of row 0
  isSequence: u32,   // 1: the rows are one sequence; 0: the rows are a batch, one per sequence
  prefixLength: u32, // slots that all rows of a batch share
  batch: array<vec4<u32>, 32>, // of each batch row: its slot, and what is added to slots from prefixLength on to find them in the cache
}
@group(0) @binding(8) var<uniform> step: Step;

// A row's slot in its sequence: the row attends to it and to all slots before it.
fn rowSlot(row: u32) -> u32 {
  if (step.isSequence == 1u) {
    return step.slotStart + row;
  }
  return step.batch[row].x;
}

// The rows of one sequence all belong to batch row 0.
fn batchRow(row: u32) -> u32 {
  return select(row, 0u, step.isSequence == 1u);
}

// Where the cache holds a slot of the row's sequence.
fn cacheSlot(slot: u32, row: u32) -> u32 {
  return slot + select(0u, step.batch[batchRow(row)].y, slot >= step.prefixLength);
}
