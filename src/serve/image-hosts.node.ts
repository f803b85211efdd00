// Pictures from the network, from hosts that the server's owner named only. A name may resolve to any address: private, loopback and
// link-local ones are refused when the connection is made, so that a name cannot change its address after it was checked.
import { lookup } from "node:dns";
import { request as httpRequest, type RequestOptions } from "node:http";
import { request as httpsRequest } from "node:https";
import type { LookupFunction } from "node:net";
import { shown } from "../errors.ts";
import { ApiError } from "./api-error.ts";
import { ipaddr } from "./packages.ts";

/** Limits of a picture from the network. */
export interface ImageHosts {
  /** Names, as in the address: "images.example.org". */
  readonly allowed: readonly string[];
  readonly maxBytes: number;
  readonly timeoutMs: number;
}

/**
 * Fetches a picture from an allowed host; redirects are refused.
 * @throws ApiError for another host, a private address, a failure, too many bytes, and after the time limit.
 */
export async function fetchPicture(
  url: URL,
  { allowed, maxBytes, timeoutMs }: ImageHosts,
  signal: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  const host = url.hostname.replace(/^\[|\]$/g, "").toLowerCase();
  if (!allowed.includes(host)) {
    throw refused(
      `pictures from ${shown(host)} are not allowed here: send the picture as a data URI, or start the server with --allow-image-hosts ${shown(host)}`,
    );
  }
  if (ipaddr.isValid(host) && !isPublic(host)) throw refused(`${shown(host)} is a private address`);
  const stop = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  const options: RequestOptions = { signal: stop, lookup: publicLookup, headers: { accept: "image/*" } };
  return new Promise((resolve, reject) => {
    const fail = (reason: string) => reject(refused(`the picture from ${shown(host)} could not be fetched: ${reason}`));
    const request = (url.protocol === "https:" ? httpsRequest : httpRequest)(url, options, (response) => {
      const { statusCode = 0 } = response;
      if (statusCode !== 200) {
        response.destroy();
        fail(statusCode >= 300 && statusCode < 400 ? "it redirects, which is refused" : `status ${statusCode}`);
        return;
      }
      const chunks: Buffer[] = [];
      let numBytes = 0;
      response.on("data", (chunk: Buffer) => {
        numBytes += chunk.length;
        if (numBytes > maxBytes) {
          response.destroy();
          fail(`it is larger than ${maxBytes} bytes`);
        } else chunks.push(chunk);
      });
      response.on("end", () => resolve(Uint8Array.from(Buffer.concat(chunks))));
      response.on("error", (error) => fail(error.message));
    });
    request.on("error", (error) => fail(stop.aborted ? `no answer in ${timeoutMs / 1000} s` : error.message));
    request.end();
  });
}

/** As dns.lookup, without addresses that are not public. */
const publicLookup: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error !== null) {
      callback(error, "", 0);
      return;
    }
    const publicOnes = addresses.filter(({ address }) => isPublic(address));
    const [first] = publicOnes;
    if (first === undefined) callback(new Error("it resolves to a private address"), "", 0);
    else if (options.all === true) callback(null, publicOnes);
    else callback(null, first.address, first.family);
  });
};

/** Whether an address belongs to the public internet. IPv4 inside of IPv6 is judged as IPv4. */
function isPublic(address: string): boolean {
  return ipaddr.process(address).range() === "unicast";
}

/** Whether an address, or localhost, can be reached from this machine only. */
export function isLoopback(host: string): boolean {
  if (host === "localhost") return true;
  return ipaddr.isValid(host) && ipaddr.process(host).range() === "loopback";
}

function refused(what: string): ApiError {
  return new ApiError(400, `image_url.url: ${what}.`, { param: "messages" });
}
