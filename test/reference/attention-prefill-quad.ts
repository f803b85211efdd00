// Twin of shaders/attention-prefill-quad.wgsl, whose formula is attention-prefill's.
export { attentionPrefill as attentionPrefillQuad } from "./attention-prefill.ts";
