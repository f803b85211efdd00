// Loads sharp only when a picture is decoded or drawn: the rest of the engine runs where its native libraries fail to load, are
// missing (the archive made with --without-pictures), or may not be loaded (Deno without --allow-ffi).

import type sharp from "sharp";
import { InputError } from "../errors.ts";
import { isMissingPackage } from "../gpu/hosts/missing-package.node.ts";

/** sharp's function. @throws InputError when it cannot be loaded. */
export async function loadSharp(): Promise<typeof sharp> {
  try {
    return (await import("sharp")).default;
  } catch (cause) {
    if (isMissingPackage(cause, "sharp")) {
      const message =
        "Pictures cannot be decoded or drawn, because sharp cannot be loaded: it is not installed; run npm install sharp.";
      throw new InputError(message, { cause });
    }
    const [what, why = ""] = String(cause).split("\n");
    // Node's reason, or Deno's; other second lines are advice on installing.
    const reason = /^(ERR_|Requires )/.test(why) ? `${what}: ${why}` : what;
    throw new InputError(`Pictures cannot be decoded or drawn, because sharp cannot be loaded: ${reason}.`, { cause });
  }
}
