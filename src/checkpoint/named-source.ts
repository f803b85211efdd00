// Sources by name: what `Llava.load` opens where it is given a string. Each host opens names in its own way.

import { InputError } from "../errors.ts";
import { httpSource } from "./http-source.ts";
import { isHubId } from "./hub/hub-id.ts";
import { webHubSource } from "./hub/web-hub-source.ts";
import { quote, type Source } from "./source.ts";

/** Opens the source that a name stands for. @throws InputError for a name that cannot be. */
export type SourceOpener = (name: string) => Source;

let openHere: SourceOpener = openOnWeb;

/** Replaces how names are opened; the modules for hosts with files do so when they are imported. */
export function setSourceOpener(opener: SourceOpener): void {
  openHere = opener;
}

/** The source of a model's id on the hub, an address or, in hosts with files, a folder. @throws InputError. */
export function namedSource(name: string): Source {
  return /^https?:\/\//.test(name) ? httpSource(name) : openHere(name);
}

function openOnWeb(name: string): Source {
  if (isHubId(name)) return webHubSource(name);
  throw new InputError(
    `Llava.load: expected an id on the hub, such as "llava-hf/llava-1.5-7b-hf", or an http or https address, got ${quote(name)}.`,
  );
}
