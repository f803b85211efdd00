// Weights quantised to 4 bits, as in weight-q4, as integers. Appended with shared/dot-nibbles, shared/matvec-sums-int8 and
// shared/wide-load-scaled.
const LOADS = 2u;        // loads with a pair of scales
const STEP_OFFSET = 8.0; // added to each step of a weight
