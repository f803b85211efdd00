// One request for a byte range, with a fetch that answers as each case needs.
import { getEventListeners } from "node:events";
import { afterEach, describe, expect, it, vi } from "vitest";
import { discard, fetchRange, type RangeRequest } from "../../src/checkpoint/http-request.ts";
import { AbortError, CheckpointError } from "../../src/errors.ts";
import { rejection } from "./fixtures.ts";

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const REQUEST: RangeRequest = {
  path: "a.bin",
  url: "http://host/a.bin?token=secret",
  shownUrl: "http://host/a.bin",
  headers: { Authorization: "Bearer secret" },
  start: 3,
  end: 7,
  retryDelaysMs: [],
  signal: undefined,
};

type Answer = Response | (() => Response);

/** Replaces fetch: the n-th call gets the n-th answer, later ones the last. Returns what was asked. */
function answer(...answers: readonly Answer[]): { url: unknown; init: RequestInit | undefined }[] {
  const calls: { url: unknown; init: RequestInit | undefined }[] = [];
  vi.stubGlobal("fetch", async (url: unknown, init?: RequestInit) => {
    const next = answers[Math.min(calls.length, answers.length - 1)];
    calls.push({ url, init });
    if (next === undefined) throw new Error("expected an answer");
    return typeof next === "function" ? next() : next;
  });
  return calls;
}

/** A failure of the network. */
const failing = (error: unknown) => () => {
  throw error;
};

/** A response whose body records its cancellation. */
function cancellable(status: number, headers: Record<string, string> = {}) {
  const cancel = vi.fn();
  return { response: new Response(new ReadableStream({ cancel }), { status, headers }), cancel };
}

const status = async (response: Response | undefined) => response?.status;

describe("a request", () => {
  it("asks for the range, with the headers", async () => {
    const calls = answer(new Response("abcd", { status: 206 }));
    expect(await fetchRange(REQUEST, async (response) => response?.text())).toBe("abcd");
    expect(calls).toEqual([
      { url: REQUEST.url, init: expect.objectContaining({ headers: { ...REQUEST.headers, Range: "bytes=3-6" } }) },
    ]);
  });

  it("asks for its own range despite a Range among the headers", async () => {
    const calls = answer(new Response("abcd", { status: 206 }));
    await fetchRange({ ...REQUEST, headers: { Range: "bytes=0-1" } }, status);
    expect(calls[0]?.init?.headers).toEqual({ Range: "bytes=3-6" });
  });
});

describe("a response", () => {
  it.each([200, 206, 416])("of status %i is passed on, its body unread", async (code) => {
    const { response, cancel } = cancellable(code);
    answer(response);
    expect(await fetchRange(REQUEST, status)).toBe(code);
    expect(cancel).not.toHaveBeenCalled();
  });

  it.each([
    [404, "text/plain"],
    [410, "text/plain"],
    [404, "text/html"],
    [200, "text/html"],
    [206, "text/html; charset=utf-8"],
  ])("of status %i and type %s means that the file does not exist, and is cancelled", async (code, type) => {
    const { response, cancel } = cancellable(code, { "content-type": type });
    answer(response);
    expect(await fetchRange(REQUEST, status)).toBeUndefined();
    expect(cancel).toHaveBeenCalledOnce();
  });

  it("of a type that only mentions HTML is a file", async () => {
    answer(new Response("abcd", { status: 200, headers: { "content-type": "application/text/html" } }));
    expect(await fetchRange(REQUEST, status)).toBe(200);
  });

  it("of status 416 is passed on, even when the server explains it in HTML", async () => {
    answer(new Response("<html>", { status: 416, headers: { "content-type": "text/html" } }));
    expect(await fetchRange(REQUEST, status)).toBe(416);
  });

  it.each([
    [201, "check the address"],
    [400, "check the address"],
    [401, "log in or pass a token in the headers"],
    [402, "check the address"],
    [403, "log in or pass a token in the headers"],
    [405, "check the address"],
    [415, "check the address"],
    [417, "check the address"],
    [499, "check the address"],
  ])("of status %i is an error at once, and is cancelled", async (code, advice) => {
    const { response, cancel } = cancellable(code);
    const calls = answer(response);
    const error = await rejection(fetchRange({ ...REQUEST, retryDelaysMs: [0] }, status));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({
      file: "a.bin",
      message: `http://host/a.bin answered with HTTP status ${code}, expected 206; ${advice}.`,
    });
    expect(cancel).toHaveBeenCalledOnce();
    expect(calls.length).toBe(1);
  });

  it("of an error status is an error when it is an HTML page", async () => {
    answer(new Response("<html>", { status: 403, headers: { "content-type": "text/html" } }));
    expect(await rejection(fetchRange(REQUEST, status))).toBeInstanceOf(CheckpointError);
  });

  it("without a body is an error like any other", async () => {
    const calls = answer(new Response(null, { status: 204 }));
    const error = await rejection(fetchRange({ ...REQUEST, retryDelaysMs: [0] }, status));
    expect(String(error)).toContain("answered with HTTP status 204, expected 206; check the address.");
    expect(calls.length).toBe(1);
  });

  it.each([408, 429, 500, 502, 503, 599])("of status %i is cancelled and asked for again", async (code) => {
    const { response, cancel } = cancellable(code, { "content-type": "text/html" });
    const calls = answer(response, new Response("abcd", { status: 206 }));
    expect(await fetchRange({ ...REQUEST, retryDelaysMs: [0] }, status)).toBe(206);
    expect(cancel).toHaveBeenCalledOnce();
    expect(calls.length).toBe(2);
  });
});

describe("discard", () => {
  it("ignores that the body broke already", async () => {
    const broken = new ReadableStream({ start: (controller) => controller.error(new Error("reset")) });
    expect(await discard(new Response(broken))).toBeUndefined();
    expect(await discard(new Response(null))).toBeUndefined();
  });
});

describe("repetition", () => {
  it("waits for the given delay before each attempt", async () => {
    vi.useFakeTimers();
    const calls = answer(failing(new Error("reset")));
    const reading = rejection(fetchRange({ ...REQUEST, retryDelaysMs: [200, 3000] }, status));
    for (const [milliseconds, numCalls] of [
      [0, 1],
      [199, 1],
      [1, 2],
      [2999, 2],
      [1, 3],
    ] as const) {
      await vi.advanceTimersByTimeAsync(milliseconds);
      expect(calls.length).toBe(numCalls);
    }
    expect(await reading).toMatchObject({
      file: "a.bin",
      message: "http://host/a.bin could not be read in 3 attempts (reset); check the connection and try again.",
      cause: expect.objectContaining({ message: "reset" }),
    });
  });

  it("covers failures while the body is read", async () => {
    const calls = answer(() => new Response("abcd", { status: 206 }));
    const text = await fetchRange({ ...REQUEST, retryDelaysMs: [0] }, async (response) => {
      if (calls.length === 1) throw new TypeError("terminated");
      return response?.text();
    });
    expect(text).toBe("abcd");
  });

  it("does not cover what the reader refuses", async () => {
    const calls = answer(new Response("abcd", { status: 206 }));
    const refusal = new CheckpointError("wrong", { file: "a.bin" });
    const reading = fetchRange({ ...REQUEST, retryDelaysMs: [0] }, () => Promise.reject(refusal));
    expect(await rejection(reading)).toBe(refusal);
    expect(calls.length).toBe(1);
  });

  it.each([
    ["a plain error", new Error("no route"), "no route"],
    ["the innermost cause", new TypeError("fetch failed", { cause: new Error("a", { cause: new Error("b") }) }), "b"],
    ["an error whose cause says nothing", new TypeError("fetch failed", { cause: new Error("") }), "fetch failed"],
    ["an error whose cause is not an error", new TypeError("fetch failed", { cause: "x" }), "fetch failed"],
    ["what is not an error", "blocked", "blocked"],
  ])("ends with the reason of %s", async (_, thrown, reason) => {
    answer(failing(thrown));
    const error = await rejection(fetchRange(REQUEST, status));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({
      message: `http://host/a.bin could not be read in one attempt (${reason}); check the connection and try again.`,
      cause: thrown,
    });
  });
});

describe("abort", () => {
  const STOPPED = "Reading a.bin was stopped by its AbortSignal.";

  it("refuses at once when the signal has fired", async () => {
    const calls = answer(new Response("abcd", { status: 206 }));
    const error = await rejection(fetchRange({ ...REQUEST, signal: AbortSignal.abort() }, status));
    expect(error).toBeInstanceOf(AbortError);
    expect(error).toMatchObject({ message: STOPPED });
    expect(calls.length).toBe(0);
  });

  it("is distinguished from a failure, also on the last attempt", async () => {
    const controller = new AbortController();
    const calls = answer(() => {
      controller.abort();
      throw new DOMException("aborted", "AbortError");
    });
    const error = await rejection(fetchRange({ ...REQUEST, signal: controller.signal }, status));
    expect(error).toBeInstanceOf(AbortError);
    expect(error).toMatchObject({ message: STOPPED });
    expect(calls[0]?.init?.signal?.aborted).toBe(true);
  });

  it("ends the wait before the next attempt, and leaves no timer", async () => {
    vi.useFakeTimers();
    const controller = new AbortController();
    const calls = answer(failing(new Error("reset")));
    const request = { ...REQUEST, signal: controller.signal, retryDelaysMs: [60_000] };
    const reading = rejection(fetchRange(request, status));
    await vi.advanceTimersByTimeAsync(1);
    controller.abort();
    expect(await reading).toBeInstanceOf(AbortError);
    expect(calls.length).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("leaves nothing on a signal that does not fire", async () => {
    const { signal } = new AbortController();
    answer(failing(new Error("reset")), new Response("abcd", { status: 206 }));
    expect(await fetchRange({ ...REQUEST, signal, retryDelaysMs: [0] }, status)).toBe(206);
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });
});
