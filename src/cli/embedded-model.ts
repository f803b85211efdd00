// The checkpoint that comes with the package.
import { join } from "node:path";
import { packageFolder } from "./package-folder.ts";

/** Its folder. */
export function embeddedModel(): string {
  return join(packageFolder(), "weights", "tiny-spatial");
}
