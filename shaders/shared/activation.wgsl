// The activations that CLIP, projectors and LLaMA-type decoders name in config.json.
// 0 none · 1 quick_gelu x·σ(1.702x) · 2 gelu (erf) · 3 silu x·σ(x) · 4 gelu_pytorch_tanh · 5 relu
override ACTIVATION: u32;

fn sigmoid(x: vec4<f32>) -> vec4<f32> {
  return 1.0 / (1.0 + exp(-x));
}

// erf within 2e-7: an odd polynomial on |x| <= 1, a Chebyshev fit in t = (|x| - 2.5) / 1.5 up to 4, beyond exactly 1
// (an error there would come out multiplied by x).
fn erf4(x: vec4<f32>) -> vec4<f32> {
  let a = min(abs(x), vec4<f32>(4.0));
  let u = a * a;
  let near = a * (1.1283791 + u * (-0.37612626 + u * (0.112835974 + u * (-0.026854329
    + u * (0.0051893123 + u * (-0.00080188556 + u * 7.8824974e-05))))));
  let t = (a - 2.5) * 0.6666667;
  let far = 0.9995931 + t * (0.003266969 + t * (-0.012255908 + t * (0.028195845 + t * (-0.043602195
    + t * (0.04632207 + t * (-0.032164328 + t * (0.0098107914 + t * (0.0074836258 + t * (-0.010797661
    + t * (0.0034260997 + t * (0.0018515676 + t * -0.001130018)))))))))));
  let magnitude = select(min(far, vec4<f32>(1.0)), near, a <= vec4<f32>(1.0));
  return sign(x) * select(magnitude, vec4<f32>(1.0), a >= vec4<f32>(4.0));
}

fn activate(x: vec4<f32>) -> vec4<f32> {
  switch ACTIVATION {
    case 1u: { return x * sigmoid(1.702 * x); }
    case 2u: { return 0.5 * x * (1.0 + erf4(x * 0.70710678)); }
    case 3u: { return x * sigmoid(x); }
    case 4u: {
      // tanh(z) = 1 - 2 / (1 + exp(2z)): safe where a driver's tanh overflows.
      let z = 0.7978846 * (x + 0.044715 * x * x * x);
      return 0.5 * x * (2.0 - 2.0 / (1.0 + exp(2.0 * z)));
    }
    case 5u: { return max(x, vec4<f32>(0.0)); }
    default: { return x; }
  }
}
