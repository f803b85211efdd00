// A linear layer over many rows for GPUs; both operands are loaded into workgroup memory in tiles
// Formula: as matmul
// Shapes: as matmul
// Work division: one workgroup computes TILE × TILE outputs: for every K_STEP of K it loads both operands into shared
//   memory, transposed and with the weights dequantised, 4 × 4 values per thread and iteration; one thread then computes 4 × 4
//   outputs in registers, or 8 × 8 when WIDE. The choice on GPUs, where a value in shared memory serves TILE sums
// Grid: (ceil(N / TILE), ceil(rows / TILE)) workgroups of (TILE / 4)² threads, (TILE / 8)² when WIDE
// Error bound: K sequential f32 additions, |error| <= (K + 4) · 2^-24 · Σ|input · weight|. They are the same, in
//   the same order, under every TILE, K_STEP and WIDE, so that all forms give a row the same bits
// Source: torch.nn.functional.linear; tiling as in any GEMM text. Appended: shared/weight-*, shared/linear,
//   shared/activation
override TILE: u32 = 64u;   // 32, 64 or, WIDE only, 128
override WIDE: bool = true;
override K_STEP: u32 = 16u; // 16 or 32; both operands take 8 · TILE · K_STEP bytes of shared memory

override SIDE: u32 = TILE / select(4u, 8u, WIDE); // threads along a side of the tile
override GROUPS: u32 = TILE / 4u;                 // groups of four rows or columns of the tile
override STEPS4: u32 = K_STEP / 4u;
override BLOCKS: u32 = GROUPS * STEPS4;           // of 4 × 4 values, of one operand
override TILE_SIZE: u32 = K_STEP * GROUPS;        // vec4s of one operand's tile

// [K_STEP][GROUPS]: four neighbouring rows (columns) at one k.
var<workgroup> inputTile: array<vec4<f32>, TILE_SIZE>;
var<workgroup> weightTile: array<vec4<f32>, TILE_SIZE>;

// Where group `group` at step `k` lies: neighbouring threads write different k4 and read different groups, and either
// way hit eight different banks of 16 bytes.
fn place(k: u32, group: u32) -> u32 {
  return k * GROUPS + (group ^ ((k / 4u * (32u / K_STEP)) & 7u));
}

@compute @workgroup_size(SIDE * SIDE)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let tileRow = group.y * TILE;
  let tileColumn = group.x * TILE;
  let lastRow = params.numRows - 1u;
  let lastColumn = params.columns4 * 4u - 1u;
  // A thread's rows and columns: groups r and r + SIDE, c and c + SIDE of the tile.
  let r = lane / SIDE;
  let c = lane % SIDE;

  // sum<row><group of columns>; rows 4 to 7 and group B only when WIDE.
  var sum0A = vec4<f32>(0.0);
  var sum1A = vec4<f32>(0.0);
  var sum2A = vec4<f32>(0.0);
  var sum3A = vec4<f32>(0.0);
  var sum4A = vec4<f32>(0.0);
  var sum5A = vec4<f32>(0.0);
  var sum6A = vec4<f32>(0.0);
  var sum7A = vec4<f32>(0.0);
  var sum0B = vec4<f32>(0.0);
  var sum1B = vec4<f32>(0.0);
  var sum2B = vec4<f32>(0.0);
  var sum3B = vec4<f32>(0.0);
  var sum4B = vec4<f32>(0.0);
  var sum5B = vec4<f32>(0.0);
  var sum6B = vec4<f32>(0.0);
  var sum7B = vec4<f32>(0.0);

  for (var start4 = 0u; start4 < params.inner4; start4 += STEPS4) {
    // Past the last row or column that one is loaded again, and its sums are not stored; past the last k comes 0.
    for (var block = lane; block < 2u * BLOCKS; block += SIDE * SIDE) {
      let k4 = block % STEPS4;
      let at = start4 + k4;
      let four = (block / STEPS4) % GROUPS;
      var w = mat4x4<f32>();
      if (at < params.inner4) {
        if (block < BLOCKS) {
          let row = tileRow + four * 4u;
          w = mat4x4<f32>(
            input[inputRow(min(row, lastRow)) + at],
            input[inputRow(min(row + 1u, lastRow)) + at],
            input[inputRow(min(row + 2u, lastRow)) + at],
            input[inputRow(min(row + 3u, lastRow)) + at],
          );
        } else {
          let first = min(tileColumn + four * 4u, lastColumn - 3u) * params.weightStride4 + at;
          w = mat4x4<f32>(
            loadWeight(first),
            loadWeight(first + params.weightStride4),
            loadWeight(first + 2u * params.weightStride4),
            loadWeight(first + 3u * params.weightStride4),
          );
        }
      }
      let byK = transpose(w);
      if (block < BLOCKS) {
        inputTile[place(k4 * 4u, four)] = byK[0];
        inputTile[place(k4 * 4u + 1u, four)] = byK[1];
        inputTile[place(k4 * 4u + 2u, four)] = byK[2];
        inputTile[place(k4 * 4u + 3u, four)] = byK[3];
      } else {
        weightTile[place(k4 * 4u, four)] = byK[0];
        weightTile[place(k4 * 4u + 1u, four)] = byK[1];
        weightTile[place(k4 * 4u + 2u, four)] = byK[2];
        weightTile[place(k4 * 4u + 3u, four)] = byK[3];
      }
    }
    workgroupBarrier();
    for (var k = 0u; k < K_STEP; k++) {
      let x = inputTile[place(k, r)];
      let a = weightTile[place(k, c)];
      sum0A = fma(vec4<f32>(x.x), a, sum0A);
      sum1A = fma(vec4<f32>(x.y), a, sum1A);
      sum2A = fma(vec4<f32>(x.z), a, sum2A);
      sum3A = fma(vec4<f32>(x.w), a, sum3A);
      if (WIDE) {
        let y = inputTile[place(k, r + SIDE)];
        let b = weightTile[place(k, c + SIDE)];
        sum0B = fma(vec4<f32>(x.x), b, sum0B);
        sum1B = fma(vec4<f32>(x.y), b, sum1B);
        sum2B = fma(vec4<f32>(x.z), b, sum2B);
        sum3B = fma(vec4<f32>(x.w), b, sum3B);
        sum4A = fma(vec4<f32>(y.x), a, sum4A);
        sum5A = fma(vec4<f32>(y.y), a, sum5A);
        sum6A = fma(vec4<f32>(y.z), a, sum6A);
        sum7A = fma(vec4<f32>(y.w), a, sum7A);
        sum4B = fma(vec4<f32>(y.x), b, sum4B);
        sum5B = fma(vec4<f32>(y.y), b, sum5B);
        sum6B = fma(vec4<f32>(y.z), b, sum6B);
        sum7B = fma(vec4<f32>(y.w), b, sum7B);
      }
    }
    workgroupBarrier();
  }

  let row = tileRow + r * 4u;
  let column4 = tileColumn / 4u + c;
  store(row, column4, sum0A);
  store(row + 1u, column4, sum1A);
  store(row + 2u, column4, sum2A);
  store(row + 3u, column4, sum3A);
  if (WIDE) {
    let lowerRow = row + 4u * SIDE;
    let right4 = column4 + SIDE;
    store(row, right4, sum0B);
    store(row + 1u, right4, sum1B);
    store(row + 2u, right4, sum2B);
    store(row + 3u, right4, sum3B);
    store(lowerRow, column4, sum4A);
    store(lowerRow + 1u, column4, sum5A);
    store(lowerRow + 2u, column4, sum6A);
    store(lowerRow + 3u, column4, sum7A);
    store(lowerRow, right4, sum4B);
    store(lowerRow + 1u, right4, sum5B);
    store(lowerRow + 2u, right4, sum6B);
    store(lowerRow + 3u, right4, sum7B);
  }
}

fn store(row: u32, column4: u32, sum: vec4<f32>) {
  if (row < params.numRows && column4 < params.columns4) {
    storeColumns(row, column4, sum);
  }
}
