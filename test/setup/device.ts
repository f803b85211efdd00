// The GPU device that the tests of one process share.

import { openNodeAdapter } from "../../src/gpu/hosts/adapter.node.ts";
import { type AdapterChoice, adapterChoices, type OpenedAdapter } from "../../src/gpu/hosts/adapter-choice.node.ts";

export { withErrorScopes } from "./error-scopes.ts";

/** The device of this test process. */
export interface TestDevice extends OpenedAdapter {
  readonly device: GPUDevice;
}

let opened: Promise<TestDevice> | undefined;

/**
 * Opens the adapter that the environment variable ADAPTVIS_TEST_ADAPTER names (SwiftShader, which every machine has, when it
 * is unset), with all its features and its own limits; the same device for every caller in a process.
 */
export function openTestDevice(): Promise<TestDevice> {
  opened ??= open(adapterOfEnvironment());
  return opened;
}

/** The adapter this test process is to use. */
export function adapterOfEnvironment(): AdapterChoice {
  const name = process.env.ADAPTVIS_TEST_ADAPTER ?? "swiftshader";
  const choice = adapterChoices.find((candidate) => candidate === name);
  if (choice === undefined)
    throw new Error(`ADAPTVIS_TEST_ADAPTER=${name}: expected one of ${adapterChoices.join(", ")}.`);
  return choice;
}

/** The software adapter of programs that run elsewhere than in this process: this test process's, or SwiftShader. */
export function softwareAdapter(): "lavapipe" | "swiftshader" {
  return adapterOfEnvironment() === "lavapipe" ? "lavapipe" : "swiftshader";
}

/**
 * Whether tests leave out cases that another adapter of the same run has: more shapes or choices of a kernel whose code each other case
 * runs, too. SwiftShader takes seconds to compile each of them.
 */
export const isBrief = process.env.ADAPTVIS_TEST_BRIEF === "1";

async function open(choice: AdapterChoice): Promise<TestDevice> {
  const found = await openNodeAdapter(choice);
  const { adapter } = found;
  const requiredFeatures = [...adapter.features].filter(isFeatureName);
  const device = await adapter.requestDevice({
    requiredFeatures,
    requiredLimits: limitsOf(adapter),
  });
  device.addEventListener("uncapturederror", ({ error }) => {
    throw new Error(`GPU error outside of any error scope: ${error.message}`);
  });
  keepPipelines(device);
  return { ...found, device };
}

/**
 * Keeps every pipeline of the device: Dawn gives an equal one out again as long as it lives, so that the models of many test files
 * compile each kernel once.
 */
function keepPipelines(device: GPUDevice): void {
  const kept: GPUComputePipeline[] = [];
  const create = device.createComputePipelineAsync.bind(device);
  device.createComputePipelineAsync = async (descriptor) => {
    const pipeline = await create(descriptor);
    kept.push(pipeline);
    return pipeline;
  };
}

/** A set of features holds strings; each of an adapter's own is one that its device may be asked for. */
function isFeatureName(_name: string): _name is GPUFeatureName {
  return true;
}

function limitsOf(adapter: GPUAdapter): Record<string, number> {
  const limits: Record<string, number> = {};
  for (const name in adapter.limits) {
    const value: unknown = Reflect.get(adapter.limits, name);
    if (typeof value === "number") limits[name] = value;
  }
  return limits;
}
