// Pictures of a request: data URIs, and addresses of hosts that the server allows.
import { shown } from "../errors.ts";
import type { RgbImage } from "../preprocess/image.ts";
import { ApiError } from "./api-error.ts";

/** Decodes and fetches pictures. */
export interface PictureReader {
  /** Decodes a JPEG, PNG or WebP. @throws InputError for anything else, and for more pixels than the server allows. */
  readonly decode: (bytes: Uint8Array<ArrayBuffer>) => Promise<RgbImage>;
  /**
   * Fetches a picture from an allowed host. @throws ApiError for any other address, a private one among them.
   */
  readonly fetch: (address: URL, signal: AbortSignal) => Promise<Uint8Array<ArrayBuffer>>;
}

const DATA_URI = /^data:([^,;]*)(;[^,]*)?,/i;

/**
 * The picture of an `image_url` part.
 * @throws ApiError for an address that is none or is not allowed, and for what is no base64; InputError for what is no picture.
 */
export async function readPicture(address: string, reader: PictureReader, signal: AbortSignal): Promise<RgbImage> {
  return reader.decode(await bytesOf(address, reader, signal));
}

async function bytesOf(address: string, reader: PictureReader, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  const data = DATA_URI.exec(address);
  if (data !== null) {
    const [whole, , options = ""] = data;
    if (!/;base64$/i.test(options)) throw refused("must be in base64 (data:image/png;base64,…)");
    return base64Bytes(address.slice(whole.length));
  }
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw refused(`must be a data URI or an http(s) address, got ${shown(address)}`);
  }
  return reader.fetch(url, signal);
}

function base64Bytes(text: string): Uint8Array<ArrayBuffer> {
  let binary: string;
  try {
    binary = atob(text);
  } catch {
    throw refused("is not valid base64");
  }
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

function refused(what: string): ApiError {
  return new ApiError(400, `image_url.url ${what}.`, { param: "messages" });
}
