// Computes a linear layer over many rows on GPUs; both operands are loaded into workgroup memory in tiles
// Formula: as matmul
// Shapes: as matmul
// Work division: one workgroup computes TILE × TILE outputs: for every K_STEP of K its threads load blocks of 4 × 4 values of
//   both operands into shared memory, transposed and with the weights dequantised; while one step is summed, the loads of the
//   next are under way. A thread computes 4 × 4 outputs in registers, or 8 × 8 when WIDE. The choice on GPUs, where a value in
//   shared memory serves TILE sums. Indices into shared memory are computed in main from values whose range the WGSL
//   compiler can derive: it then proves them to be in bounds instead of clamping each one
// Grid: (ceil(N / TILE), ceil(rows / TILE)) workgroups of (TILE / 4)² threads, (TILE / 8)² when WIDE
// Error bound: K sequential f32 additions, |error| <= (K + 4) · 2^-24 · Σ|input · weight|. They are the same, in
//   the same order, under every TILE, K_STEP and WIDE, so that all forms give a row the same bits
// Source: torch.nn.functional.linear; tiling as in any GEMM text. Appended: shared/weight-*, shared/input, shared/linear,
//   shared/activation
// Valid combinations are those in which each thread loads one block of each operand, or each half of the threads one operand's.
override TILE: u32 = 64u;   // 32, 64 or, WIDE only, 128
override WIDE: bool = true;
override K_STEP: u32 = 16u; // WIDE 16, else 32; both operands take 8 · K_STEP · (TILE + 8) bytes of shared memory

override SIDE: u32 = TILE / select(4u, 8u, WIDE); // threads along a side of the tile
override GROUPS: u32 = TILE / 4u;                 // groups of four rows or columns of the tile
override STEPS4: u32 = K_STEP / 4u;
override BLOCKS: u32 = GROUPS * STEPS4;           // of 4 × 4 values, of one operand
override IS_SHARED: bool = BLOCKS < SIDE * SIDE;  // the first half of the threads loads input, the other weights
// From one k to the next: eight neighbouring threads of a write then hit eight different banks of 16 bytes.
override PITCH: u32 = GROUPS + 2u;
override PLANE: u32 = STEPS4 * PITCH;             // from the first k of all fours to the second
override TILE_SIZE: u32 = 4u * PLANE;

// [4][STEPS4][PITCH]: four neighbouring rows (columns) at k = 4 · (second index) + first index.
var<workgroup> inputTile: array<vec4<f32>, TILE_SIZE>;
var<workgroup> weightTile: array<vec4<f32>, TILE_SIZE>;

// row<row><group of columns>; rows 4 to 7 and group B only when WIDE.
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
}

// Adds the products of one k: rows x and y with columns a and b.
fn addProducts(sums: ptr<function, Sums>, x: vec4<f32>, y: vec4<f32>, a: vec4<f32>, b: vec4<f32>) {
  (*sums).row0A = fma(vec4<f32>(x.x), a, (*sums).row0A);
  (*sums).row1A = fma(vec4<f32>(x.y), a, (*sums).row1A);
  (*sums).row2A = fma(vec4<f32>(x.z), a, (*sums).row2A);
  (*sums).row3A = fma(vec4<f32>(x.w), a, (*sums).row3A);
  if (WIDE) {
    (*sums).row0B = fma(vec4<f32>(x.x), b, (*sums).row0B);
    (*sums).row1B = fma(vec4<f32>(x.y), b, (*sums).row1B);
    (*sums).row2B = fma(vec4<f32>(x.z), b, (*sums).row2B);
    (*sums).row3B = fma(vec4<f32>(x.w), b, (*sums).row3B);
    (*sums).row4A = fma(vec4<f32>(y.x), a, (*sums).row4A);
    (*sums).row5A = fma(vec4<f32>(y.y), a, (*sums).row5A);
    (*sums).row6A = fma(vec4<f32>(y.z), a, (*sums).row6A);
    (*sums).row7A = fma(vec4<f32>(y.w), a, (*sums).row7A);
    (*sums).row4B = fma(vec4<f32>(y.x), b, (*sums).row4B);
    (*sums).row5B = fma(vec4<f32>(y.y), b, (*sums).row5B);
    (*sums).row6B = fma(vec4<f32>(y.z), b, (*sums).row6B);
    (*sums).row7B = fma(vec4<f32>(y.w), b, (*sums).row7B);
  }
}

// A block of input as columns of k: four values from `at` on of the rows that begin at `rowsAt`. What is read past the end of a
// row does not enter any sum.
fn loadInput(rowsAt: vec4<u32>, at: u32) -> mat4x4<f32> {
  return transpose(mat4x4<f32>(input[rowsAt.x + at], input[rowsAt.y + at], input[rowsAt.z + at], input[rowsAt.w + at]));
}

// The same of four neighbouring rows of weights.
fn loadWeights(at: u32) -> mat4x4<f32> {
  let stride = params.weightStride4;
  return transpose(mat4x4<f32>(
    loadWeight(at),
    loadWeight(at + stride),
    loadWeight(at + 2u * stride),
    loadWeight(at + 3u * stride),
  ));
}

@compute @workgroup_size(SIDE * SIDE)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let tileRow = group.y * TILE;
  let tileColumn = group.x * TILE;
  // A thread's rows and columns: groups r and r + SIDE, c and c + SIDE of the tile.
  let r = lane / SIDE;
  let c = lane % SIDE;

  // The blocks that this thread loads. Past the last row or column that one is loaded again, and its sums are not stored.
  let k4 = lane % STEPS4;
  let four = (lane / STEPS4) % GROUPS;
  let written = k4 * PITCH + four;
  let hasInput = !IS_SHARED || lane < BLOCKS;
  let hasWeight = !IS_SHARED || lane >= BLOCKS;
  let lastRow = params.numRows - 1u;
  let row = tileRow + four * 4u;
  let rowsAt = vec4<u32>(
    inputRow(min(row, lastRow)),
    inputRow(min(row + 1u, lastRow)),
    inputRow(min(row + 2u, lastRow)),
    inputRow(min(row + 3u, lastRow)),
  );
  let weightAt = min(tileColumn + four * 4u, params.columns4 * 4u - 4u) * params.weightStride4;

  var sums = Sums();
  var x = mat4x4<f32>();
  var w = mat4x4<f32>();
  if (hasInput) {
    x = loadInput(rowsAt, k4);
  }
  if (hasWeight) {
    w = loadWeights(weightAt + k4);
  }
  for (var start4 = 0u; start4 < params.inner4; start4 += STEPS4) {
    if (hasInput) {
      inputTile[written] = x[0];
      inputTile[written + PLANE] = x[1];
      inputTile[written + 2u * PLANE] = x[2];
      inputTile[written + 3u * PLANE] = x[3];
    }
    if (hasWeight) {
      weightTile[written] = w[0];
      weightTile[written + PLANE] = w[1];
      weightTile[written + 2u * PLANE] = w[2];
      weightTile[written + 3u * PLANE] = w[3];
    }
    workgroupBarrier();
    let next4 = start4 + STEPS4;
    if (next4 < params.inner4) {
      if (hasInput) {
        x = loadInput(rowsAt, next4 + k4);
      }
      if (hasWeight) {
        w = loadWeights(weightAt + next4 + k4);
      }
    }
    // Two k at a time, in their order.
    let numPairs = 2u * min(STEPS4, params.inner4 - start4);
    for (var i = 0u; i < numPairs; i++) {
      let k = (i % 2u) * 2u * PLANE + (i / 2u % STEPS4) * PITCH; // "% STEPS4" changes nothing; it bounds the index for the compiler
      let p0 = inputTile[k + r];
      let a0 = weightTile[k + c];
      var q0 = vec4<f32>();
      var b0 = vec4<f32>();
      if (WIDE) {
        q0 = inputTile[k + r + SIDE];
        b0 = weightTile[k + c + SIDE];
      }
      addProducts(&sums, p0, q0, a0, b0);
      let p1 = inputTile[k + PLANE + r];
      let a1 = weightTile[k + PLANE + c];
      var q1 = vec4<f32>();
      var b1 = vec4<f32>();
      if (WIDE) {
        q1 = inputTile[k + PLANE + r + SIDE];
        b1 = weightTile[k + PLANE + c + SIDE];
      }
      addProducts(&sums, p1, q1, a1, b1);
    }
    workgroupBarrier();
  }

  let outputRow = tileRow + r * 4u;
  let column4 = tileColumn / 4u + c;
  store(outputRow, column4, sums.row0A);
  store(outputRow + 1u, column4, sums.row1A);
  store(outputRow + 2u, column4, sums.row2A);
  store(outputRow + 3u, column4, sums.row3A);
  if (WIDE) {
    let lowerRow = outputRow + 4u * SIDE;
    let right4 = column4 + SIDE;
    store(outputRow, right4, sums.row0B);
    store(outputRow + 1u, right4, sums.row1B);
    store(outputRow + 2u, right4, sums.row2B);
    store(outputRow + 3u, right4, sums.row3B);
    store(lowerRow, column4, sums.row4A);
    store(lowerRow + 1u, column4, sums.row5A);
    store(lowerRow + 2u, column4, sums.row6A);
    store(lowerRow + 3u, column4, sums.row7A);
    store(lowerRow, right4, sums.row4B);
    store(lowerRow + 1u, right4, sums.row5B);
    store(lowerRow + 2u, right4, sums.row6B);
    store(lowerRow + 3u, right4, sums.row7B);
  }
}

fn store(row: u32, column4: u32, sum: vec4<f32>) {
  if (row < params.numRows && column4 < params.columns4) {
    storeColumns(row, column4, sum);
  }
}
