// Twin of shaders/gated-activation.wgsl.
import type { Activation } from "../../src/gpu/ops/activations.ts";
import { activate } from "./activation.ts";
import { at } from "./rows.ts";

/** output = activate(gate) · up, value by value. */
export function gatedActivation(
  gate: ArrayLike<number>,
  up: ArrayLike<number>,
  { activation }: { readonly activation: Activation },
): Float64Array {
  return Float64Array.from(
    { length: gate.length },
    (_, index) => activate(at(gate, index), activation) * at(up, index),
  );
}
