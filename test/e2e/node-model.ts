// The same model in Node, on the same software adapter: what the page's answers are compared with.

import { type Answer, fileSource, Llava, openNodeAdapter, requestGpuDevice, type Trace } from "../../src/index.node.ts";
import { MODEL } from "./fixtures.ts";

/** Loads the embedded checkpoint on SwiftShader. */
export async function openNodeModel(): Promise<Llava> {
  const { adapter } = await openNodeAdapter("swiftshader");
  return await Llava.load(fileSource(MODEL), { device: await requestGpuDevice(adapter) });
}

/** What Node says to a question of the page. */
export interface NodeAnswers {
  readonly greedy: Answer;
  /** With AdaptVis. */
  readonly trace: Trace;
}
