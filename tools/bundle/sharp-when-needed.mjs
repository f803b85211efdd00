// Stands in for sharp inside the bundle's cli.js, and loads it only where a picture is decoded or drawn: the bench needs none,
// and must run where sharp's libraries do not load or, made --without-pictures, are not there.

import { createRequire } from "node:module";
import { InputError } from "../../src/errors.ts";

/** As sharp's own. @throws InputError when it cannot be loaded. */
export default function sharp(...args) {
  return load()(...args);
}

function load() {
  try {
    return createRequire(import.meta.url)("sharp");
  } catch (cause) {
    const [what, why = ""] = String(cause).split("\n");
    const reason = why.startsWith("ERR_") ? `${what}: ${why}` : what;
    throw new InputError(`No picture is decoded or drawn here, since sharp cannot be loaded: ${reason}`, { cause });
  }
}
