// Cuts a picture into patches, one row per patch
// Formula: output[y·G + x, (c·p + i)·p + j] = pixels[c, y·p + i, x·p + j], G = floor(S / p); 0 in the padded columns
// Shapes: pixels [C, S, S] f32 · output [G², C·p² padded to a multiple of 4] f32
// Work division: one thread per vec4 of an output row
// Grid: (ceil(columns / 4 / 64), G²) workgroups of 64 threads
// Error bound: exact
// Source: torch.nn.functional.unfold: a convolution whose stride is its kernel becomes a matrix product
struct Params {
  imageSize: u32,   // S
  patchSize: u32,   // p
  gridSize: u32,    // G
  columns: u32,     // C·p²
  columns4: u32,    // padded C·p² / 4
  imageOffset: u32, // first element of this picture in pixels
}
@group(0) @binding(0) var<storage, read> pixels: array<f32>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> params: Params;

fn pixelOf(patchIndex: u32, column: u32) -> f32 {
  if (column >= params.columns) {
    return 0.0;
  }
  let area = params.patchSize * params.patchSize;
  let channel = column / area;
  let y = (patchIndex / params.gridSize) * params.patchSize + (column % area) / params.patchSize;
  let x = (patchIndex % params.gridSize) * params.patchSize + column % params.patchSize;
  return pixels[params.imageOffset + (channel * params.imageSize + y) * params.imageSize + x];
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.columns4) {
    return;
  }
  let column = id.x * 4u;
  output[id.y * params.columns4 + id.x] = vec4<f32>(
    pixelOf(id.y, column),
    pixelOf(id.y, column + 1u),
    pixelOf(id.y, column + 2u),
    pixelOf(id.y, column + 3u),
  );
}
