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
  /**
   * Logits of a cache in f16 or q8 beside f32's, √ of the mean squared difference over the logits' standard deviation: measured
   * up to 1.4e-3 and 2.3e-2 on the goldens, whose random weights make more of an error than trained ones do (1.6e-4 and 1.3e-2).
   */
  kv: { f16: 3e-3, q8: 4e-2 },
  /**
   * Logits of a decode step that multiplies integers beside one over f32 activations with the same weights, in the same measure:
   * measured up to 4.5e-2 on the goldens, where rounding the weights to q8 makes 2.6e-2 to 6.5e-2.
   */
  activations: 8e-2,
  /**
   * The same numbers rounded to a cache: sums in another order move some across a rounding step. Largest difference of logits and
   * probabilities, as {@link PARITY.kv} says of the goldens' logits, which have a standard deviation of 1 to 4.
   */
  kvOracle: { f16: 1e-2, q8: 0.1 },
} as const;
