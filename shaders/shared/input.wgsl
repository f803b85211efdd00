// The rows of input of a linear layer, in f32; shared/matvec-sums-int8 declares a quantised one instead.
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;
