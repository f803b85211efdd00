// The activations of config.json.
/** Activations by their name in config.json, with the number the kernels know them by. */
export const ACTIVATIONS = { none: 0, quick_gelu: 1, gelu: 2, silu: 3, gelu_pytorch_tanh: 4, relu: 5 } as const;

/** The name of an activation that the kernels compute. */
export type Activation = keyof typeof ACTIVATIONS;
