// The constants of kernels for GPUs that start-up tuning may choose: each kernel's entry names its candidates, the first that
// a device can run being the default. On CPU adapters nothing is chosen: their kernels have no such constants.
import { GpuError } from "../errors.ts";
import type { KernelContext } from "./device.ts";
import type { Constant } from "./kernel.ts";

/** Values of some overrides of a kernel. */
export type TunableChoice = Readonly<Record<string, Constant>>;

/** Which constants kernels run with on one adapter; what is left out has its default. */
export interface TuningTable {
  readonly format: 1;
  /** `tuningKey` of the device and the kernels that it was measured with. */
  readonly key: string;
  /** By the name of what is chosen, one of `TUNABLES`. */
  readonly choices: Readonly<Record<string, TunableChoice>>;
}

/** What is chosen, by name. Weights in bf16 go with f16; "small" is for products whose larger tiles would leave a GPU idle. */
export type TunableName =
  | "matmul-tiled"
  | "matmul-tiled small"
  | "matvec f32"
  | "matvec f16"
  | "matvec q8"
  | "matvec q4_1"
  | "matvec q4";

/** Candidates by what is chosen. */
export type Tunables = Readonly<Record<TunableName, readonly TunableChoice[]>>;

/** Candidates that the device has the feature and the limits for; there is one at least on every WebGPU device. */
export function usableOf(candidates: readonly TunableChoice[], device: GPUDevice): readonly TunableChoice[] {
  const { maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize } = device.limits;
  return candidates.filter(
    (choice) =>
      (choice.SUBGROUPS !== true || device.features.has("subgroups")) &&
      threadsOf(choice) <= maxComputeInvocationsPerWorkgroup &&
      tileBytes(choice) <= maxComputeWorkgroupStorageSize,
  );
}

/** What the tuning table chose, else the default. @throws GpuError `limit` when the device can run no candidate. */
export function chosen(gpu: KernelContext, tunables: Tunables, name: TunableName): TunableChoice {
  const choice = gpu.tuning?.choices[name] ?? usableOf(tunables[name], gpu.device)[0];
  if (choice === undefined) throw new GpuError("limit", `${name}: this adapter's limits allow no candidate.`);
  return choice;
}

/** For people: "THREADS 128, COLUMNS4 2". */
export function choiceText(choice: TunableChoice): string {
  return Object.entries(choice)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");
}

/** Whether two choices have the same values, in any order. */
export function isSameChoice(a: TunableChoice, b: Readonly<Record<string, unknown>>): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

/** Workgroup memory of matmul-tiled. */
function tileBytes({ TILE, K_STEP }: TunableChoice): number {
  return TILE === undefined ? 0 : 8 * Number(K_STEP) * (Number(TILE) + 8);
}

function threadsOf(choice: TunableChoice): number {
  if (choice.TILE === undefined) return Number(choice.THREADS);
  return (Number(choice.TILE) / (choice.WIDE === true ? 8 : 4)) ** 2;
}
