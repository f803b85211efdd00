// Weights quantised to 4 bits with a minimum, as in weight-q4-1, as integers. Appended with shared/dot-nibbles,
// shared/matvec-sums-int8 and shared/wide-load-minimum.
const STEP_OFFSET = 0.0; // added to each step of a weight
