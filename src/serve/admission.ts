// Decides which requests run, wait or are refused, by limits on how many run at once, wait, and belong to one client.
import type Queue from "p-queue";
import { ApiError } from "./api-error.ts";
import { PQueue } from "./packages.ts";

/** The limits. */
export interface AdmissionLimits {
  /** Answers that run at once; their tokens take turns. */
  readonly maxRunning: number;
  readonly maxWaiting: number;
  /** Of one client, running and waiting. */
  readonly maxPerClient: number;
  /** From its arrival on, a request has so long. */
  readonly timeoutMs: number;
}

/** Admits requests. */
export class Admission {
  private readonly limits: AdmissionLimits;
  private readonly queue: Queue;
  private readonly perClient = new Map<string, number>();
  private readonly stops = new Set<AbortController>();
  /** Mean time of an answer, for Retry-After. */
  private meanMs = 1000;
  private isDraining = false;

  constructor(limits: AdmissionLimits) {
    this.limits = limits;
    this.queue = new PQueue({ concurrency: limits.maxRunning });
  }

  get numRunning(): number {
    return this.queue.pending;
  }

  get numWaiting(): number {
    return this.queue.size;
  }

  /** Whether new requests are sent away because the server ends. */
  get isEnding(): boolean {
    return this.isDraining;
  }

  /**
   * Runs `work` when its turn comes.
   * @param work is stopped by its signal: the client's own, or the time limit's
   * @throws ApiError when the queue is full, the client has too many requests, the server ends, or the time is over.
   */
  async run<T>(client: string, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { maxWaiting, maxPerClient, timeoutMs } = this.limits;
    if (this.isDraining) throw new ApiError(503, "The server is ending.", { code: "ending" });
    const own = this.perClient.get(client) ?? 0;
    if (own >= maxPerClient) {
      throw this.full(`at most ${maxPerClient} requests of one client are taken at once`);
    }
    if (this.numRunning >= this.limits.maxRunning && this.numWaiting >= maxWaiting) {
      throw this.full(`${maxWaiting} requests are waiting already`);
    }
    const stop = new AbortController();
    const ofClient = () => stop.abort(signal.reason);
    signal.addEventListener("abort", ofClient, { once: true });
    if (signal.aborted) ofClient();
    const late = new ApiError(504, `The answer took longer than ${timeoutMs / 1000} s.`, { code: "timeout" });
    const timer = setTimeout(() => stop.abort(late), timeoutMs);
    this.perClient.set(client, own + 1);
    this.stops.add(stop);
    const started = performance.now();
    try {
      return await this.queue.add(() => work(stop.signal), { signal: stop.signal });
    } catch (error) {
      if (stop.signal.aborted && stop.signal.reason instanceof ApiError) throw stop.signal.reason;
      throw error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", ofClient);
      this.stops.delete(stop);
      const left = (this.perClient.get(client) ?? 1) - 1;
      if (left > 0) this.perClient.set(client, left);
      else this.perClient.delete(client);
      this.meanMs += (performance.now() - started - this.meanMs) / 8;
    }
  }

  /** Takes no more requests and waits for those that run or wait; after `graceMs` they are stopped. */
  async drain(graceMs: number): Promise<void> {
    this.isDraining = true;
    const ending = new ApiError(503, "The server is ending.", { code: "ending" });
    const timer = setTimeout(() => {
      for (const stop of this.stops) stop.abort(ending);
    }, graceMs);
    await this.queue.onIdle();
    clearTimeout(timer);
  }

  private full(what: string): ApiError {
    const { maxRunning } = this.limits;
    const seconds = Math.max(1, Math.ceil((this.meanMs * (this.numWaiting + 1)) / maxRunning / 1000));
    return new ApiError(429, `Too many requests: ${what}; try again in ${seconds} s.`, {
      code: "queue_full",
      retryAfter: seconds,
    });
  }
}
