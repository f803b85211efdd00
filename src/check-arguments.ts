// What a program without a type checker may hand over by mistake, told before anything is read or allocated.
import type { LoadOptions } from "./answer.ts";
import type { Source } from "./checkpoint/source.ts";
import { InputError, kindOf } from "./errors.ts";
import { CACHE_DTYPES } from "./gpu/cache-format.ts";
import { ACTIVATION_DTYPES, isQuantized, WEIGHT_DTYPES } from "./gpu/tensor.ts";
import type { ModelInputs } from "./models/inputs.ts";

/** @throws InputError naming what was expected and what was given. */
export function checkLoad(source: Source | string, options: LoadOptions): void {
  if (typeof source !== "string" && typeof source?.read !== "function") {
    const wanted = 'an id such as "llava-hf/llava-1.5-7b-hf", or a source such as httpSource(url) or blobSource(files)';
    throw new InputError(`Llava.load: expected ${wanted}, got ${kindOf(source)}.`);
  }
  const { device, dtype, memoryBytes, kvDtype, activationDtype, ...others }: Partial<LoadOptions> = options ?? {};
  const { adapterClass, chunkRows, chatTemplate } = others;
  if (typeof device?.createBuffer !== "function") {
    const wanted = "options with a GPUDevice as device, such as await requestGpuDevice(adapter)";
    throw new InputError(`Llava.load: expected ${wanted}, got ${kindOf(device)}.`);
  }
  checkChoice("dtype", dtype, ["auto", ...WEIGHT_DTYPES]);
  if ((dtype === "auto" || memoryBytes !== undefined) && !(Number.isFinite(memoryBytes) && Number(memoryBytes) > 0)) {
    throw new InputError(`memoryBytes: expected a number above 0, got ${memoryBytes}; dtype "auto" needs it.`);
  }
  checkChoice("kvDtype", kvDtype, CACHE_DTYPES);
  checkChoice("activationDtype", activationDtype, ACTIVATION_DTYPES);
  if (activationDtype === "q8" && (dtype === undefined || dtype === "auto" || !isQuantized(dtype))) {
    const got = dtype ?? "the checkpoint's dtype";
    throw new InputError(`activationDtype q8 needs weights in q8, q4_1 or q4, got ${got}: set dtype (--dtype) too.`);
  }
  checkChoice("adapterClass", adapterClass, ["cpu", "gpu"]);
  if (chatTemplate !== undefined && typeof chatTemplate?.source !== "string") {
    throw new InputError(`chatTemplate: expected { file, source }, got ${kindOf(chatTemplate)}.`);
  }
  if (chunkRows !== undefined && !(Number.isInteger(chunkRows) && chunkRows >= 1)) {
    throw new InputError(`chunkRows: expected a whole number of at least 1, got ${chunkRows}.`);
  }
}

/** @throws InputError for a question in place of its inputs, say. */
export function checkInputs(inputs: ModelInputs): void {
  if (typeof inputs?.inputIds?.length === "number" && Array.isArray(inputs.images)) return;
  throw new InputError(`inputs: expected what model.prepare(question) returns, got ${kindOf(inputs)}.`);
}

function checkChoice(name: string, value: string | undefined, choices: readonly string[]): void {
  if (value === undefined || choices.includes(value)) return;
  throw new InputError(`${name} must be ${choices.join(", ")}, got ${value}.`);
}
