// The options that say which checkpoint is loaded and how its weights are stored.
import { type Command, Option } from "commander";
import { WEIGHT_DTYPES, type WeightDtype } from "../gpu/tensor.ts";
import { someText } from "./values.ts";

/** Options of the model, as parsed. */
export interface ModelFlags {
  readonly model?: string;
  readonly dtype?: WeightDtype;
}

/** Adds `--model` and `--dtype`. @param what describes `--model` */
export function addModelOptions(command: Command, what: string): Command {
  return command
    .option("--model <folder>", what, someText)
    .addOption(dtypeOption("how weight matrices are stored on the GPU (default: as in the checkpoint)"));
}

/** `--dtype`, with the dtypes that weights may have. */
export function dtypeOption(what: string): Option {
  return new Option("--dtype <dtype>", what).choices(WEIGHT_DTYPES);
}
