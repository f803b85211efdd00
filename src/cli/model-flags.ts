// The options that say which checkpoint is loaded and how its weights are stored.
import { type Command, Option } from "commander";
import { WEIGHT_DTYPES, type WeightDtype } from "../gpu/tensor.ts";
import { someText } from "./values.ts";

/** Options of the model, as parsed. */
export interface ModelFlags {
  readonly model?: string;
  readonly dtype?: WeightDtype;
  readonly tune?: boolean;
}

/** Adds `--model`, `--dtype` and `--tune`. @param what describes `--model` */
export function addModelOptions(command: Command, what: string): Command {
  return command
    .option("--model <folder>", what, someText)
    .addOption(dtypeOption("how weight matrices are stored on the GPU (default: as in the checkpoint)"))
    .option("--tune", "measure the kernels' constants on this GPU the first time, and use what was measured");
}

/** `--dtype`, with the dtypes that weights may have. */
export function dtypeOption(what: string): Option {
  return new Option("--dtype <dtype>", what).choices(WEIGHT_DTYPES);
}
