// The server's packages. They are loaded when this module first runs, which is when the server starts: as imports at the top, a bundle
// of one file would load them at the start of every command, and Deno would ask each of these for their permissions.

export const { OpenAPIHono, z } = await import("@hono/zod-openapi");
export const { serve } = await import("@hono/node-server");
export const { bearerAuth } = await import("hono/bearer-auth");
export const { bodyLimit } = await import("hono/body-limit");
export const { cors } = await import("hono/cors");
export const { HTTPException } = await import("hono/http-exception");
export const { requestId } = await import("hono/request-id");
export const { secureHeaders } = await import("hono/secure-headers");
export const { streamSSE } = await import("hono/streaming");
export const { Counter, Gauge, Histogram, Registry } = await import("prom-client");
export const { pino } = await import("pino");
export const { default: PQueue } = await import("p-queue");
export const { default: ipaddr } = await import("ipaddr.js");
