// The server's description: GET /openapi.json.
import type { OpenAPIHono, z as Types } from "@hono/zod-openapi";
import type { Env } from "hono";
import { z } from "./packages.ts";
import { chatChunk, chatCompletion, chatRequest, errorBody, modelList } from "./protocol.ts";

/** Describes the paths of the application and serves the description. */
export function describeApi<E extends Env>(app: OpenAPIHono<E>, { needsKey }: { readonly needsKey: boolean }): void {
  const registry = app.openAPIRegistry;
  const security = needsKey ? [{ key: [] }] : [];
  if (needsKey) registry.registerComponent("securitySchemes", "key", { type: "http", scheme: "bearer" });
  const json = (schema: Types.ZodType, description: string) => ({
    description,
    content: { "application/json": { schema } },
  });
  const error = (description: string) => json(errorBody, description);
  registry.registerPath({
    method: "post",
    path: "/v1/chat/completions",
    summary: "Answers a chat",
    security,
    request: { body: { required: true, content: { "application/json": { schema: chatRequest } } } },
    responses: {
      200: {
        description: "the answer, or its events where stream is true, ending in [DONE]",
        content: {
          "application/json": { schema: chatCompletion },
          "text/event-stream": { schema: chatChunk },
        },
      },
      400: error("a field is wrong or not supported"),
      401: error("the API key is missing or wrong"),
      403: error("the Host or the Origin is not allowed"),
      404: error("another model's name"),
      413: error("the body is too large"),
      429: error("too many requests; retry-after says when to try again"),
      503: error("no memory, or the server is ending"),
      504: error("the answer took too long"),
    },
  });
  registry.registerPath({
    method: "get",
    path: "/v1/models",
    summary: "Lists the model",
    security,
    responses: { 200: json(modelList, "the model") },
  });
  registry.registerPath({
    method: "get",
    path: "/health",
    summary: "Says whether the server takes requests",
    responses: {
      200: json(z.object({ status: z.literal("ok") }), "it does"),
      503: json(z.object({ status: z.literal("ending") }), "it is ending"),
    },
  });
  registry.registerPath({
    method: "get",
    path: "/metrics",
    summary: "Numbers for Prometheus",
    security,
    responses: { 200: { description: "the numbers", content: { "text/plain": { schema: z.string() } } } },
  });
  app.doc31("/openapi.json", { openapi: "3.1.0", info: { title: "adaptvis", version: "1" } });
}
