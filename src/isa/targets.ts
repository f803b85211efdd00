// The GPUs that Mesa's RADV compiles for without hardware, with what a prediction needs to know of them.
// Sources: AMD's instruction set guides (Vega, RDNA 2, RDNA 3, RDNA 3.5) and the products' data sheets.

import { InputError } from "../errors.ts";

/** A GPU to compile for. Waves have 64 lanes on all of them, as the driver compiles compute shaders. */
export interface IsaTarget {
  /** As AMDGPU_GPU_ID of Mesa's amdgpu shim names it. */
  readonly name: string;
  readonly description: string;
  /** Lanes that a SIMD computes in one cycle. */
  readonly lanes: number;
  readonly numSimds: number;
  readonly clockGhz: number;
  /** Memory bandwidth, GB (10^9 bytes) per second. */
  readonly memoryGbps: number;
  /** A SIMD's share of its compute unit's workgroup memory, bytes per cycle. */
  readonly ldsBytesPerCycle: number;
  /** A SIMD's share of its compute unit's first cache, bytes per cycle. */
  readonly cacheBytesPerCycle: number;
}

/** Lanes of a wave. */
export const WAVE_LANES = 64;

/** The targets. */
export const ISA_TARGETS: readonly IsaTarget[] = [
  {
    name: "navi31",
    description: "RDNA 3, Radeon RX 7900 XTX",
    lanes: 32,
    numSimds: 192,
    clockGhz: 2.5,
    memoryGbps: 960,
    ldsBytesPerCycle: 64,
    cacheBytesPerCycle: 32,
  },
  {
    name: "navi21",
    description: "RDNA 2, Radeon RX 6900 XT",
    lanes: 32,
    numSimds: 160,
    clockGhz: 2.25,
    memoryGbps: 512,
    ldsBytesPerCycle: 64,
    cacheBytesPerCycle: 32,
  },
  {
    name: "gfx1150",
    description: "RDNA 3.5, Radeon 890M",
    lanes: 32,
    numSimds: 32,
    clockGhz: 2.9,
    memoryGbps: 120,
    ldsBytesPerCycle: 64,
    cacheBytesPerCycle: 32,
  },
  {
    name: "vega10",
    description: "GCN 5, Radeon RX Vega 64",
    lanes: 16,
    numSimds: 256,
    clockGhz: 1.55,
    memoryGbps: 484,
    ldsBytesPerCycle: 32,
    cacheBytesPerCycle: 16,
  },
];

/** The target of that name. @throws InputError for another name. */
export function isaTarget(name: string): IsaTarget {
  const target = ISA_TARGETS.find((each) => each.name === name);
  if (target !== undefined) return target;
  const names = ISA_TARGETS.map((each) => each.name).join(", ");
  throw new InputError(`${name} is not a GPU to compile for: expected one of ${names}.`);
}
