// Computes a linear layer over many rows on CPU adapters whose subgroups of eight threads share the weights that they load
// Formula: as matmul
// Shapes: as matmul
// Work division: as matmul-quad, but a subgroup loads eight columns at a time, one per thread, and shares them with
//   subgroupBroadcast, so that a load serves 8 · ROWS sums; one thread computes ROWS rows (8 apart) × 24 columns. The choice on
//   lavapipe
// Grid: (ceil(rows / (8 · ROWS)), ceil(N / 24)) workgroups of 8 threads
// Error bound: as matmul
// Source: torch.nn.functional.linear. Appended: shared/weight-*, shared/dots, shared/input, shared/linear,
//   shared/activation
enable subgroups;

override ROWS: u32 = 4u; // 1, 2 or 4 rows a thread

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x * 8u * ROWS + lane;
  let column4 = group.y * 6u;
  let lastRow = params.numRows - 1u;
  let x0 = inputRow(min(row, lastRow));
  let x1 = inputRow(min(row + 8u, lastRow));
  let x2 = inputRow(min(row + 16u, lastRow));
  let x3 = inputRow(min(row + 24u, lastRow));
  // Past the last column a thread loads that one again and stores nothing.
  let column = column4 * 4u + lane;
  let lastColumn = params.columns4 * 4u - 1u;
  let wA = min(column, lastColumn) * params.weightStride4;
  let wB = min(column + 8u, lastColumn) * params.weightStride4;
  let wC = min(column + 16u, lastColumn) * params.weightStride4;

  var sum0A = vec4<f32>(0.0);
  var sum0B = vec4<f32>(0.0);
  var sum0C = vec4<f32>(0.0);
  var sum0D = vec4<f32>(0.0);
  var sum0E = vec4<f32>(0.0);
  var sum0F = vec4<f32>(0.0);
  var sum1A = vec4<f32>(0.0);
  var sum1B = vec4<f32>(0.0);
  var sum1C = vec4<f32>(0.0);
  var sum1D = vec4<f32>(0.0);
  var sum1E = vec4<f32>(0.0);
  var sum1F = vec4<f32>(0.0);
  var sum2A = vec4<f32>(0.0);
  var sum2B = vec4<f32>(0.0);
  var sum2C = vec4<f32>(0.0);
  var sum2D = vec4<f32>(0.0);
  var sum2E = vec4<f32>(0.0);
  var sum2F = vec4<f32>(0.0);
  var sum3A = vec4<f32>(0.0);
  var sum3B = vec4<f32>(0.0);
  var sum3C = vec4<f32>(0.0);
  var sum3D = vec4<f32>(0.0);
  var sum3E = vec4<f32>(0.0);
  var sum3F = vec4<f32>(0.0);
  for (var k = 0u; k < params.inner4; k++) {
    let p = input[x0 + k];
    var q = vec4<f32>(0.0);
    var r = vec4<f32>(0.0);
    var s = vec4<f32>(0.0);
    if (ROWS > 1u) {
      q = input[x1 + k];
    }
    if (ROWS > 2u) {
      r = input[x2 + k];
      s = input[x3 + k];
    }

    var w = loadWeight(wA + k);
    var a = subgroupBroadcast(w, 0u);
    var b = subgroupBroadcast(w, 1u);
    var c = subgroupBroadcast(w, 2u);
    var d = subgroupBroadcast(w, 3u);
    sum0A += dots(p, a, b, c, d);
    if (ROWS > 1u) {
      sum1A += dots(q, a, b, c, d);
    }
    if (ROWS > 2u) {
      sum2A += dots(r, a, b, c, d);
      sum3A += dots(s, a, b, c, d);
    }
    a = subgroupBroadcast(w, 4u);
    b = subgroupBroadcast(w, 5u);
    c = subgroupBroadcast(w, 6u);
    d = subgroupBroadcast(w, 7u);
    sum0B += dots(p, a, b, c, d);
    if (ROWS > 1u) {
      sum1B += dots(q, a, b, c, d);
    }
    if (ROWS > 2u) {
      sum2B += dots(r, a, b, c, d);
      sum3B += dots(s, a, b, c, d);
    }

    w = loadWeight(wB + k);
    a = subgroupBroadcast(w, 0u);
    b = subgroupBroadcast(w, 1u);
    c = subgroupBroadcast(w, 2u);
    d = subgroupBroadcast(w, 3u);
    sum0C += dots(p, a, b, c, d);
    if (ROWS > 1u) {
      sum1C += dots(q, a, b, c, d);
    }
    if (ROWS > 2u) {
      sum2C += dots(r, a, b, c, d);
      sum3C += dots(s, a, b, c, d);
    }
    a = subgroupBroadcast(w, 4u);
    b = subgroupBroadcast(w, 5u);
    c = subgroupBroadcast(w, 6u);
    d = subgroupBroadcast(w, 7u);
    sum0D += dots(p, a, b, c, d);
    if (ROWS > 1u) {
      sum1D += dots(q, a, b, c, d);
    }
    if (ROWS > 2u) {
      sum2D += dots(r, a, b, c, d);
      sum3D += dots(s, a, b, c, d);
    }

    w = loadWeight(wC + k);
    a = subgroupBroadcast(w, 0u);
    b = subgroupBroadcast(w, 1u);
    c = subgroupBroadcast(w, 2u);
    d = subgroupBroadcast(w, 3u);
    sum0E += dots(p, a, b, c, d);
    if (ROWS > 1u) {
      sum1E += dots(q, a, b, c, d);
    }
    if (ROWS > 2u) {
      sum2E += dots(r, a, b, c, d);
      sum3E += dots(s, a, b, c, d);
    }
    a = subgroupBroadcast(w, 4u);
    b = subgroupBroadcast(w, 5u);
    c = subgroupBroadcast(w, 6u);
    d = subgroupBroadcast(w, 7u);
    sum0F += dots(p, a, b, c, d);
    if (ROWS > 1u) {
      sum1F += dots(q, a, b, c, d);
    }
    if (ROWS > 2u) {
      sum2F += dots(r, a, b, c, d);
      sum3F += dots(s, a, b, c, d);
    }
  }

  storeRow(row, column4, sum0A, sum0B, sum0C);
  storeRow(row, column4 + 3u, sum0D, sum0E, sum0F);
  if (ROWS > 1u) {
    storeRow(row + 8u, column4, sum1A, sum1B, sum1C);
    storeRow(row + 8u, column4 + 3u, sum1D, sum1E, sum1F);
  }
  if (ROWS > 2u) {
    storeRow(row + 16u, column4, sum2A, sum2B, sum2C);
    storeRow(row + 16u, column4 + 3u, sum2D, sum2E, sum2F);
    storeRow(row + 24u, column4, sum3A, sum3B, sum3C);
    storeRow(row + 24u, column4 + 3u, sum3D, sum3E, sum3F);
  }
}

fn storeRow(row: u32, column4: u32, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>) {
  if (row >= params.numRows) {
    return;
  }
  if (column4 < params.columns4) {
    storeColumns(row, column4, a);
  }
  if (column4 + 1u < params.columns4) {
    storeColumns(row, column4 + 1u, b);
  }
  if (column4 + 2u < params.columns4) {
    storeColumns(row, column4 + 2u, c);
  }
}
