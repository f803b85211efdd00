// Twin of shaders/attention-decode-quad.wgsl: one softmax over all keys, as in attention-prefill.
export { attentionPrefill as attentionDecodeQuad } from "./attention-prefill.ts";
