// Refuses requests of pages from elsewhere: of another origin, because browsers let any page send requests to this machine, and of a
// name that was made to point to it (DNS rebinding).
import type { MiddlewareHandler } from "hono";
import { shown } from "../errors.ts";
import { ApiError } from "./api-error.ts";

/** Names and origins that are allowed beside this machine's own. */
export interface GuardOptions {
  /** Names in the Host header, without the port; addresses in numbers and localhost are always allowed. */
  readonly hosts: readonly string[];
  /** Origins of pages, such as "https://app.example.org". */
  readonly origins: readonly string[];
}

/** Refuses requests with a foreign Host or Origin. */
export function guard({ hosts, origins }: GuardOptions): MiddlewareHandler {
  return async (context, next) => {
    const host = context.req.header("host") ?? "";
    const name = hostName(host);
    if (!isOwnName(name) && !hosts.includes(name)) {
      throw new ApiError(
        403,
        `The name ${shown(name)} is not this server's: use its address, or start it with --allow-hosts ${shown(name)}.`,
        { code: "host_not_allowed" },
      );
    }
    const origin = context.req.header("origin");
    const isOwnPage = origin !== undefined && URL.canParse(origin) && new URL(origin).host === host;
    if (origin !== undefined && !isOwnPage && !origins.includes(origin)) {
      throw new ApiError(
        403,
        `Pages of ${shown(origin)} may not use this server: start it with --allow-origins ${shown(origin)}.`,
        { code: "origin_not_allowed" },
      );
    }
    await next();
  };
}

/** The name or address of a Host header, in lower case. */
function hostName(host: string): string {
  return (/^(\[[^\]]*\]|[^:]*)(:\d+)?$/.exec(host)?.[1] ?? host).toLowerCase();
}

/** localhost, or an address in numbers: neither can be made to point elsewhere. */
function isOwnName(name: string): boolean {
  return name === "localhost" || name.startsWith("[") || /^\d{1,3}(\.\d{1,3}){3}$/.test(name);
}
