// What a program without a type checker may hand over by mistake, told before anything is read or allocated.
import type { LoadOptions } from "./answer.ts";
import type { Source } from "./checkpoint/source.ts";
import { InputError, kindOf } from "./errors.ts";
import { CACHE_DTYPES } from "./gpu/cache-format.ts";
import { ACTIVATION_DTYPES, isQuantized, WEIGHT_DTYPES } from "./gpu/tensor.ts";
import type { ModelInputs } from "./models/inputs.ts";

/** @throws InputError naming what was expected and what was given. */
export function checkLoad(source: Source, options: LoadOptions): void {
  if (typeof source?.read !== "function") {
    const wanted = "a source, such as httpSource(url), blobSource(files), fileSource(folder) or hubSource(id)";
    throw new InputError(`Llava.load: expected ${wanted}, got ${kindOf(source)}.`);
  }
  const { device, dtype, kvDtype, activationDtype, adapterClass, chunkRows, chatTemplate }: Partial<LoadOptions> =
    options ?? {};
  if (typeof device?.createBuffer !== "function") {
    const wanted = "options with a GPUDevice as device, such as await requestGpuDevice(adapter)";
    throw new InputError(`Llava.load: expected ${wanted}, got ${kindOf(device)}.`);
  }
  checkChoice("dtype", dtype, WEIGHT_DTYPES);
  checkChoice("kvDtype", kvDtype, CACHE_DTYPES);
  checkChoice("activationDtype", activationDtype, ACTIVATION_DTYPES);
  if (activationDtype === "q8" && (dtype === undefined || !isQuantized(dtype))) {
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
