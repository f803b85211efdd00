// A runtime's program: asks with the built bundle and prints the answer, or why there is no adapter, as one JSON object.
// Arguments: the bundle's URL, the checkpoint's folder, the adapter.
import type * as adaptvis from "../../src/index.node.ts";
import { ask } from "./ask.ts";

const [, , bundle = "", folder = "", choice] = process.argv;
const host = (await import(bundle)) as typeof adaptvis; // the bundle of exactly that module
try {
  const { adapter } = await host.openNodeAdapter(choice === "lavapipe" ? choice : "swiftshader");
  const device = await host.requestGpuDevice(adapter);
  console.log(JSON.stringify(await ask(host, host.fileSource(folder), device)));
} catch (error) {
  if (!(error instanceof host.GpuError)) throw error;
  console.log(JSON.stringify({ reason: error.reason, message: error.message }));
}
