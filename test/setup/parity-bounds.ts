// Bounds of whole stages against other implementations' f32, with their reasons; test/setup/bounds.ts has the kernels'.

/** Largest absolute differences. */
export const PARITY = {
  /** The reference's own runs differ by 1e-5 with the number of threads; 20 times that over all layers. */
  logits: 2e-4,
  /** Probabilities are at most 1, so they carry a tenth of the logits' error. */
  attentionProbs: 2e-5,
  /** Hidden states of tiny random checkpoints reach 30: f32 sums over a few layers differ in the sixth digit. */
  hiddenStates: 1e-4,
  /** Pixel values of a JPEG: two decoders may differ by 2 of 255 (test/preprocess), which is 2 / 255 / 0.26 after CLIP's division. */
  jpegPixelValues: 0.031,
  /** One extra step against a second prefill: the same numbers, summed in another order. */
  oracle: 1e-5,
} as const;
