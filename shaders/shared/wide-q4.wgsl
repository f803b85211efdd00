// Weights quantised to 4 bits as in weight-q4, 16 bytes (a group) per load. Appended with shared/unpack-nibbles and
// shared/wide-load-scaled.
const WIDTH = 8u;    // vec4s of weights in a load
const LOADS = 2u;    // loads with a pair of scales
const OFFSET = 24.0; // added to each unpacked weight: 8 of its step, 16 of unpack-nibbles
