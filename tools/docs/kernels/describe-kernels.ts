// What the pages say about the kernels, read from the engine itself. Bundled and imported by make.mjs, since shaders are texts there.
import { LLAVA_7B_FULL } from "../../../src/bench/model-cases.ts";
import { ALL_KERNELS } from "../../../src/gpu/ops/kernels.ts";
import { type KernelHeader, kernelHeader } from "../../../src/inspect/kernel-text.ts";
import { recordingDevice, recordPipelines } from "../../../src/isa/recorded-passes.ts";
import { BOUNDS, type Bound, linearBound } from "../../../test/setup/bounds.ts";

/** A kernel as its page shows it. */
export interface DescribedKernel {
  readonly name: string;
  readonly header: KernelHeader;
  /** The texts that the engine compiles, most often one per dtype. */
  readonly variants: readonly { readonly label: string; readonly code: string }[];
  /** Bindings of the first variant. */
  readonly bindings: readonly { readonly name: string; readonly access: string }[];
  /** Members of `struct Params` of the first variant. */
  readonly params: readonly string[];
  /** The passes of a question about a picture that run it, as in "prefill layers.mlp.down_proj", by kind of adapter. */
  readonly passes: readonly { readonly adapter: string; readonly passes: readonly string[] }[];
}

/** Every kernel, by name. */
export function describeKernels(): ReadonlyMap<string, DescribedKernel> {
  const passes = recordPasses();
  const found = new Map<string, DescribedKernel>();
  for (const name of new Set(ALL_KERNELS.map((kernel) => kernel.name))) {
    const variants = ALL_KERNELS.filter((kernel) => kernel.name === name);
    const [first] = variants;
    if (first === undefined) continue;
    found.set(name, {
      name,
      header: kernelHeader(first),
      variants: variants.map(({ weightDtype, cacheDtype, activationDtype, code }) => ({
        label: [
          weightDtype && `weights in ${weightDtype}`,
          activationDtype && `inputs in ${activationDtype}`,
          cacheDtype && `cache in ${cacheDtype}`,
        ]
          .filter(Boolean)
          .join(", "),
        code,
      })),
      bindings: [...first.bindings].map(([binding, { type }]) => ({
        name: binding,
        access: { uniform: "uniform", storage: "written", "read-only-storage": "read" }[type],
      })),
      params: first.params.map((field) => `${field.name}: ${field.type}`),
      passes: passes.flatMap(({ adapter, byKernel }) => {
        const list = byKernel.get(name);
        return list === undefined ? [] : [{ adapter, passes: [...list] }];
      }),
    });
  }
  return found;
}

/** A bound by its name in test/setup/bounds.ts, or "linear" for the one that depends on the inner dimension K (here 4096). */
export function boundNamed(name: string): Bound {
  if (name === "linear") return linearBound(4096);
  const bound = Object.entries(BOUNDS).find(([key]) => key === name)?.[1];
  if (bound === undefined) throw new RangeError(`test/setup/bounds.ts has no bound ${name}.`);
  return bound;
}

/** Records a question about a picture at LLaVA-1.5-7B's shapes on adapters of each kind; nothing is computed. */
function recordPasses() {
  const eight = { subgroupMinSize: 8, subgroupMaxSize: 8 };
  const adapters = [
    { adapter: "GPUs with subgroups", features: ["subgroups"], isSoftware: false },
    { adapter: "GPUs without subgroups", features: [], isSoftware: false },
    { adapter: "CPU adapters with subgroups of eight threads", features: ["subgroups"], isSoftware: true, info: eight },
    { adapter: "CPU adapters with other subgroups", features: ["subgroups"], isSoftware: true },
    { adapter: "CPU adapters without subgroups", features: [], isSoftware: true },
  ];
  return adapters.map(({ adapter, features, isSoftware, info = {} }) => {
    const byKernel = new Map<string, Set<string>>();
    for (const dtype of ["f16", "q4"] as const) {
      for (const activationDtype of dtype === "q4" && !isSoftware ? (["f32", "q8"] as const) : (["f32"] as const)) {
        const recorder = recordingDevice(features);
        const device = { ...recorder, adapterInfo: { ...recorder.adapterInfo, ...info } };
        for (const { kernel, passes } of recordPipelines(
          LLAVA_7B_FULL,
          { dtype, activationDtype, isSoftware },
          device,
        )) {
          const list = byKernel.get(kernel.name) ?? new Set<string>();
          for (const pass of passes) list.add(pass);
          byKernel.set(kernel.name, list);
        }
      }
    }
    return { adapter, byKernel };
  });
}
