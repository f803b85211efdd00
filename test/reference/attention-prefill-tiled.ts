// Twin of shaders/attention-prefill-tiled.wgsl, whose formula is attention-prefill's.
export { attentionPrefill as attentionPrefillTiled } from "./attention-prefill.ts";
