// The constants of kernels for GPUs that start-up tuning may choose: for each kernel its candidates, the first that a
// device can run being the default. On CPU adapters nothing is chosen: their kernels have no such constants.
import type { Gpu } from "../device.ts";
import type { Constant } from "../kernel.ts";

/** Values of some overrides of a kernel; SUBGROUPS chooses between two kernels. */
export type Choice = Readonly<Record<string, Constant>>;

/** Form of matmul-tiled, and what it asks of a device. */
const tiled = (TILE: number, WIDE: boolean, K_STEP: number): Choice => ({ TILE, WIDE, K_STEP });

/** matvec-subgroup or matvec-reduce with so many threads and fours of columns a workgroup. */
const matvec = (SUBGROUPS: boolean, THREADS: number, COLUMNS4: number): Choice => ({ SUBGROUPS, THREADS, COLUMNS4 });

const FLOAT_MATVECS = [
  matvec(true, 128, 1),
  matvec(true, 64, 1),
  matvec(true, 256, 1),
  matvec(true, 128, 2),
  matvec(false, 128, 1),
];

// A load holds more weights, so that fewer threads have the same number of loads each.
const QUANTIZED_MATVECS = [
  matvec(true, 64, 1),
  matvec(true, 64, 2),
  matvec(true, 128, 1),
  matvec(true, 128, 2),
  matvec(false, 64, 1),
];

/** Candidates by what is chosen. Weights in bf16 go with f16. */
export const TUNABLES = {
  /** matmul-tiled where its tiles are many. */
  "matmul-tiled": [tiled(64, true, 16), tiled(64, false, 32), tiled(128, true, 16), tiled(64, true, 32)],
  /** matmul-tiled where larger tiles would leave most of a GPU idle. */
  "matmul-tiled small": [tiled(32, false, 16), tiled(32, false, 32), tiled(64, false, 16)],
  "matvec f32": FLOAT_MATVECS,
  "matvec f16": FLOAT_MATVECS,
  "matvec q8": QUANTIZED_MATVECS,
  "matvec q4": QUANTIZED_MATVECS,
} as const satisfies Record<string, readonly Choice[]>;

/** What is chosen, by name. */
export type TunableName = keyof typeof TUNABLES;

/** Names in the order of measuring. */
export const TUNABLE_NAMES = Object.keys(TUNABLES).filter(isTunableName);

/** Whether a name out of a file is one of {@link TUNABLES}. */
export function isTunableName(name: string): name is TunableName {
  return Object.hasOwn(TUNABLES, name);
}

/** Candidates that the device has the feature and the limits for; there is one at least on every WebGPU device. */
export function usableCandidates(name: TunableName, device: GPUDevice): readonly Choice[] {
  const { maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize } = device.limits;
  return TUNABLES[name].filter(
    (choice) =>
      (choice.SUBGROUPS !== true || device.features.has("subgroups")) &&
      threadsOf(choice) <= maxComputeInvocationsPerWorkgroup &&
      8 * Number(choice.TILE ?? 0) * Number(choice.K_STEP ?? 0) <= maxComputeWorkgroupStorageSize,
  );
}

/** What the tuning table chose, else the default. */
export function chosen(gpu: Gpu, name: TunableName): Choice {
  return gpu.tuning?.choices[name] ?? usableCandidates(name, gpu.device)[0] ?? TUNABLES[name][0];
}

/** For people: "THREADS 128, COLUMNS4 2". */
export function choiceText(choice: Choice): string {
  return Object.entries(choice)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");
}

/** Whether two choices have the same values, in whatever order. */
export function isSameChoice(a: Choice, b: Choice): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

function threadsOf(choice: Choice): number {
  if (choice.TILE === undefined) return Number(choice.THREADS);
  return (Number(choice.TILE) / (choice.WIDE === true ? 8 : 4)) ** 2;
}
