// Errors in the form of OpenAI's protocol: {error: {message, type, param, code}} with a status. A failure that is not the request's fault is
// described without its stack.
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { AbortError, CheckpointError, GpuError, InputError, oneLine } from "../errors.ts";

/** A request that is refused or fails. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: ContentfulStatusCode;
  /** The field that is wrong. */
  readonly param: string | null;
  readonly code: string | null;
  /** Seconds after which the request may be sent again. */
  readonly retryAfter: number | undefined;

  constructor(
    status: ContentfulStatusCode,
    message: string,
    details: { readonly param?: string; readonly code?: string; readonly retryAfter?: number } = {},
  ) {
    super(oneLine(message)); // a message may quote what came
    this.status = status;
    this.param = details.param ?? null;
    this.code = details.code ?? null;
    this.retryAfter = details.retryAfter;
  }

  /** The body of the answer. */
  get body(): { error: { message: string; type: string; param: string | null; code: string | null } } {
    const { message, status, param, code } = this;
    return { error: { message, type: typeOf(status), param, code } };
  }
}

function typeOf(status: number): string {
  if (status === 401) return "authentication_error";
  if (status === 403) return "permission_error";
  if (status === 429) return "rate_limit_error";
  return status < 500 ? "invalid_request_error" : "server_error";
}

/** Any error as an answer. What the engine says about inputs is the client's to read; other failures are named, not shown. */
export function apiErrorOf(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof InputError) return new ApiError(400, error.message);
  // A template that refuses the messages, for instance.
  if (error instanceof CheckpointError) return new ApiError(400, error.message);
  if (error instanceof GpuError && error.reason === "out-of-memory") {
    return new ApiError(503, error.message, { code: "out_of_memory", retryAfter: 1 });
  }
  if (error instanceof GpuError) return new ApiError(500, error.message, { code: error.reason });
  if (error instanceof AbortError || (error instanceof Error && error.name === "AbortError"))
    return new ApiError(503, "The answer was stopped.", { code: "stopped" });
  return new ApiError(500, "The server failed; its log has the error.", { code: "internal_error" });
}
