// Weights quantised to 4 bits with a minimum as in weight-q4-1, 16 bytes (a group) per load. Appended with shared/unpack-nibbles and
// shared/wide-load-minimum.
const WIDTH = 8u;    // vec4s of weights in a load
const OFFSET = 16.0; // added to each unpacked weight by unpack-nibbles
