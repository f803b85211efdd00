// What the kernels in which a workgroup shares each sum of a matrix × vector product have in common: their constants, one thread's
// sums, and how the threads' sums are added up. Appended with shared/matvec-sums or -sums-int8, and shared/sums-subgroup or -shared.
// Everything is named and unrolled, so that it stays in registers.
override THREADS: u32 = 128u;  // of a workgroup: 64, 128 or 256
override COLUMNS4: u32 = 1u;   // four or, at 2, eight columns of output a workgroup
override BATCH: u32;           // 1, 2, 4 or 8 rows of output a workgroup: one reading of the weights serves them all
override IS_PADDED: bool;      // whether groups pad the rows of weights, with weights of 0

// row<row of the batch><four columns>; B only when COLUMNS4 is 2. input<row>: the sum of the row's values.
struct Sums {
  row0A: vec4<f32>,
  row1A: vec4<f32>,
  row2A: vec4<f32>,
  row3A: vec4<f32>,
  row4A: vec4<f32>,
  row5A: vec4<f32>,
  row6A: vec4<f32>,
  row7A: vec4<f32>,
  row0B: vec4<f32>,
  row1B: vec4<f32>,
  row2B: vec4<f32>,
  row3B: vec4<f32>,
  row4B: vec4<f32>,
  row5B: vec4<f32>,
  row6B: vec4<f32>,
  row7B: vec4<f32>,
  input0: vec4<f32>,
  input1: vec4<f32>,
  input2: vec4<f32>,
  input3: vec4<f32>,
  input4: vec4<f32>,
  input5: vec4<f32>,
  input6: vec4<f32>,
  input7: vec4<f32>,
}

// Adds up the threads' sums, each into its place: row · COLUMNS4 + (0 for A, 1 for B). Every thread of the workgroup calls it.
fn addUpAll(thread: Thread, sums: Sums) {
  addUp(thread, 0u * COLUMNS4, sums.row0A);
  if (COLUMNS4 > 1u) {
    addUp(thread, 0u * COLUMNS4 + 1u, sums.row0B);
  }
  if (BATCH > 1u) {
    addUp(thread, 1u * COLUMNS4, sums.row1A);
    if (COLUMNS4 > 1u) {
      addUp(thread, 1u * COLUMNS4 + 1u, sums.row1B);
    }
  }
  if (BATCH > 2u) {
    addUp(thread, 2u * COLUMNS4, sums.row2A);
    addUp(thread, 3u * COLUMNS4, sums.row3A);
    if (COLUMNS4 > 1u) {
      addUp(thread, 2u * COLUMNS4 + 1u, sums.row2B);
      addUp(thread, 3u * COLUMNS4 + 1u, sums.row3B);
    }
  }
  if (BATCH > 4u) {
    addUp(thread, 4u * COLUMNS4, sums.row4A);
    addUp(thread, 5u * COLUMNS4, sums.row5A);
    addUp(thread, 6u * COLUMNS4, sums.row6A);
    addUp(thread, 7u * COLUMNS4, sums.row7A);
    if (COLUMNS4 > 1u) {
      addUp(thread, 4u * COLUMNS4 + 1u, sums.row4B);
      addUp(thread, 5u * COLUMNS4 + 1u, sums.row5B);
      addUp(thread, 6u * COLUMNS4 + 1u, sums.row6B);
      addUp(thread, 7u * COLUMNS4 + 1u, sums.row7B);
    }
  }
  finishSums(thread);
}
