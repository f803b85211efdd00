// From a WGSL file to a pipeline: the file itself says which bindings, overrides and parameters it has, and every call
// is checked against it, because WebGPU lets some mistakes pass in silence (a fractional u32 override, for one).
import { GpuError } from "../errors.ts";
import type { CacheDtype } from "./cache-format.ts";
import type { Profiler } from "./profile/profiler.ts";
import type { ActivationDtype, WeightDtype } from "./tensor.ts";

/** A value for a WGSL `override`. */
export type Constant = number | boolean;

/** A scalar member of a kernel's `struct Params`. */
export interface ParamField {
  readonly name: string;
  readonly type: "u32" | "i32" | "f32";
}

/** A compute kernel: WGSL text and what it declares. */
export interface Kernel {
  /** File name without `.wgsl`. */
  readonly name: string;
  readonly code: string;
  /** How the weights are stored that it reads; undefined for a kernel that reads none. */
  readonly weightDtype: WeightDtype | undefined;
  /** Storage format of the keys and values that it reads or writes; undefined for kernels without, or for f32 only. */
  readonly cacheDtype: CacheDtype | undefined;
  /** Format of the rows that are multiplied with quantised weights; undefined for f32. */
  readonly activationDtype: ActivationDtype | undefined;
  readonly bindings: ReadonlyMap<string, { readonly binding: number; readonly type: GPUBufferBindingType }>;
  readonly overrides: ReadonlyMap<string, { readonly type: string; readonly hasDefault: boolean }>;
  readonly params: readonly ParamField[];
}

/**
 * Reads a kernel's declarations from its WGSL text.
 * @param helpers texts of files in shaders/shared that the kernel calls, appended in this order.
 * @param dtypes formats of what `helpers` pack or unpack: weights, keys and values, activations
 * @throws GpuError `shader` when a declaration is not of the form the engine uses.
 */
export function defineKernel(
  name: string,
  source: string,
  helpers: readonly string[] = [],
  dtypes: Partial<Pick<Kernel, "weightDtype" | "cacheDtype" | "activationDtype">> = {},
): Kernel {
  // A module's directives stand before everything else, also those of a helper.
  const text = [source, ...helpers].join("\n");
  const directives = new Set(text.match(/^enable \w+;$/gm));
  const code = [...directives, text.replace(/^enable \w+;$/gm, "")].join("\n");
  const bindings = new Map<string, { binding: number; type: GPUBufferBindingType }>();
  const bindingPattern =
    /@group\(0\)\s*@binding\((\d+)\)\s*var<(uniform|storage(?:,\s*(?:read|read_write))?)>\s*(\w+)/g;
  for (const [, index, space, variable] of code.matchAll(bindingPattern)) {
    const type = space === "uniform" ? "uniform" : space?.includes("read_write") ? "storage" : "read-only-storage";
    bindings.set(String(variable), { binding: Number(index), type });
  }
  const overrides = new Map<string, { type: string; hasDefault: boolean }>();
  for (const [, variable, type, initial] of code.matchAll(/^override\s+(\w+)\s*:\s*(\w+)\s*(=)?/gm)) {
    overrides.set(String(variable), {
      type: String(type),
      hasDefault: initial !== undefined,
    });
  }
  const body = /struct Params \{([^}]*)\}/.exec(code)?.[1] ?? "";
  const params: ParamField[] = [];
  for (const line of body.replace(/\/\/.*$/gm, "").split(",")) {
    const field = /^\s*(\w+)\s*:\s*(u32|i32|f32)\s*$/.exec(line);
    if (field !== null)
      params.push({
        name: String(field[1]),
        type: field[2] as ParamField["type"],
      });
    else if (line.trim() !== "")
      throw new GpuError("shader", `${name}.wgsl: Params member "${line.trim()}" is no scalar.`);
  }
  const { weightDtype, cacheDtype, activationDtype } = dtypes;
  return { name, code, weightDtype, cacheDtype, activationDtype, bindings, overrides, params };
}

/** A pipeline that may still be compiling; `ready` resolves when `handle` is set. */
export interface Pipeline {
  readonly layout: GPUBindGroupLayout;
  readonly ready: Promise<void>;
  readonly handle: GPUComputePipeline | undefined;
}

/** Compiled pipelines of one device, by kernel and override values. */
export class PipelineCache {
  private readonly device: GPUDevice;
  private readonly profiler: Profiler | undefined;
  private readonly pipelines = new Map<Kernel, Map<string, Pipeline>>();
  private readonly layouts = new Map<string, GPUBindGroupLayout>();
  private readonly modules = new Map<string, GPUShaderModule>();

  constructor(device: GPUDevice, profiler?: Profiler) {
    this.device = device;
    this.profiler = profiler;
  }

  /** Pipelines asked for so far. */
  get size(): number {
    return [...this.pipelines.values()].reduce((sum, variants) => sum + variants.size, 0);
  }

  /**
   * Waits for the pipelines asked for so far.
   * @param onProgress told how many of them are compiled, each time one more is
   * @throws GpuError `shader` when a kernel does not compile.
   */
  async compiled(onProgress?: (numCompiled: number, numPipelines: number) => void): Promise<void> {
    const pipelines = [...this.pipelines.values()].flatMap((variants) => [...variants.values()]);
    const tell = () => onProgress?.(pipelines.filter(({ handle }) => handle !== undefined).length, pipelines.length);
    tell();
    await Promise.all(pipelines.map(({ ready }) => ready.then(tell)));
  }

  /**
   * The pipeline of `kernel` with these override values; compilation starts at the first call and runs aside.
   * @throws GpuError `shader` when a constant is missing, unknown or of the wrong type.
   */
  get(kernel: Kernel, constants: Readonly<Record<string, Constant>>): Pipeline {
    let variants = this.pipelines.get(kernel);
    if (variants === undefined) {
      variants = new Map();
      this.pipelines.set(kernel, variants);
    }
    const key = JSON.stringify(constants);
    let pipeline = variants.get(key);
    if (pipeline === undefined) {
      checkConstants(kernel, constants);
      pipeline = this.compile(kernel, constants);
      variants.set(key, pipeline);
    }
    return pipeline;
  }

  private compile(kernel: Kernel, constants: Readonly<Record<string, Constant>>): Pipeline {
    let module = this.modules.get(kernel.code);
    if (module === undefined) {
      module = this.device.createShaderModule({
        label: kernel.name,
        code: kernel.code,
      });
      this.modules.set(kernel.code, module);
    }
    const startMs = performance.now();
    const layout = this.layoutOf(kernel);
    const values = Object.fromEntries(Object.entries(constants).map(([name, value]) => [name, Number(value)]));
    const pipeline: {
      layout: GPUBindGroupLayout;
      ready: Promise<void>;
      handle: GPUComputePipeline | undefined;
    } = {
      layout,
      ready: Promise.resolve(),
      handle: undefined,
    };
    pipeline.ready = this.device
      .createComputePipelineAsync({
        label: kernel.name,
        layout: this.device.createPipelineLayout({
          bindGroupLayouts: [layout],
        }),
        compute: { module, entryPoint: "main", constants: values },
      })
      .then((handle) => {
        pipeline.handle = handle;
        this.profiler?.add("compile", kernel.name, startMs);
      })
      .catch(async (cause: unknown) => {
        throw new GpuError("shader", await compileMessage(kernel, module, cause), { cause });
      });
    // A failure is reported by whoever awaits `ready`; without this, one nobody waits for would end the process.
    pipeline.ready.catch(() => undefined);
    return pipeline;
  }

  private layoutOf(kernel: Kernel): GPUBindGroupLayout {
    const entries = [...kernel.bindings.values()].sort((a, b) => a.binding - b.binding);
    const key = entries.map(({ binding, type }) => `${binding}:${type}`).join(",");
    let layout = this.layouts.get(key);
    if (layout === undefined) {
      layout = this.device.createBindGroupLayout({
        entries: entries.map(({ binding, type }) => ({
          binding,
          visibility: SHADER_STAGE_COMPUTE,
          buffer: { type },
        })),
      });
      this.layouts.set(key, layout);
    }
    return layout;
  }
}

// GPUShaderStage.COMPUTE: Node has no global of that name.
const SHADER_STAGE_COMPUTE = 0x4;

/** Whether WGSL's u32, i32 or f32 can hold `value`; a fraction or an overflow would otherwise be changed in silence. */
export function fitsType(value: number, type: string): boolean {
  if (type === "f32") return Number.isFinite(value);
  const [smallest, largest] = type === "u32" ? [0, 0xffff_ffff] : [-0x8000_0000, 0x7fff_ffff];
  return Number.isInteger(value) && value >= smallest && value <= largest;
}

function checkConstants(kernel: Kernel, constants: Readonly<Record<string, Constant>>): void {
  for (const [name, value] of Object.entries(constants)) {
    const declared = kernel.overrides.get(name);
    if (declared === undefined) throw new GpuError("shader", `${kernel.name}: no override named ${name}.`);
    const fits =
      declared.type === "bool"
        ? typeof value === "boolean"
        : typeof value === "number" && fitsType(value, declared.type);
    if (!fits) throw new GpuError("shader", `${kernel.name}: override ${name} expects ${declared.type}, got ${value}.`);
  }
  for (const [name, { hasDefault }] of kernel.overrides) {
    if (!hasDefault && constants[name] === undefined) {
      throw new GpuError("shader", `${kernel.name}: override ${name} has no value.`);
    }
  }
}

async function compileMessage(kernel: Kernel, module: GPUShaderModule, cause: unknown): Promise<string> {
  const info = await module.getCompilationInfo();
  const first = info.messages.find((message) => message.type === "error");
  if (first === undefined)
    return `Kernel ${kernel.name} was refused: ${cause instanceof Error ? cause.message : cause}`;
  const line = kernel.code.split("\n")[first.lineNum - 1]?.trim() ?? "";
  return `Kernel ${kernel.name}, line ${first.lineNum}: ${first.message} in "${line}".`;
}
