// Numbers of a server in the text format of Prometheus.
import type { Counter as CounterOf, Histogram as HistogramOf } from "prom-client";
import { Counter, Gauge, Histogram, Registry } from "./packages.ts";

/** What is read when the metrics are. */
export interface MetricSources {
  readonly numRunning: () => number;
  readonly numWaiting: () => number;
  readonly gpuBytes: () => number;
}

const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

/** The metrics of one server. */
export class Metrics {
  private readonly registry = new Registry();
  /** Answers by status. */
  readonly requests: CounterOf<"status">;
  readonly promptTokens: CounterOf;
  readonly reusedTokens: CounterOf;
  readonly generatedTokens: CounterOf;
  readonly timeToFirstToken: HistogramOf;
  readonly tokenSeconds: HistogramOf;
  readonly requestSeconds: HistogramOf;

  constructor(sources: MetricSources) {
    const registers = [this.registry];
    const counter = (name: string, help: string) => new Counter({ name: `adaptvis_${name}`, help, registers });
    const seconds = (name: string, help: string) =>
      new Histogram({ name: `adaptvis_${name}_seconds`, help, buckets: SECONDS, registers });
    const gauge = (name: string, help: string, read: () => number) =>
      new Gauge({
        name: `adaptvis_${name}`,
        help,
        registers,
        collect() {
          this.set(read());
        },
      });
    this.requests = new Counter({
      name: "adaptvis_requests_total",
      help: "Requests for answers, by status",
      labelNames: ["status"],
      registers,
    });
    this.promptTokens = counter("prompt_tokens_total", "Positions of prompts, pictures included");
    this.reusedTokens = counter("prefix_hit_tokens_total", "Positions whose keys and values were in the cache");
    this.generatedTokens = counter("generated_tokens_total", "Tokens of answers");
    this.timeToFirstToken = seconds("time_to_first_token", "From the arrival of a request to its first token");
    this.tokenSeconds = seconds("time_per_token", "Mean time between two tokens of an answer");
    this.requestSeconds = seconds("request", "From the arrival of a request to its end");
    gauge("requests_running", "Answers that run", sources.numRunning);
    gauge("requests_waiting", "Requests that wait for their turn", sources.numWaiting);
    gauge("gpu_allocated_bytes", "Bytes of the engine's buffers on the GPU", sources.gpuBytes);
  }

  /** As text, and its content type. */
  async text(): Promise<{ readonly body: string; readonly contentType: string }> {
    return { body: await this.registry.metrics(), contentType: this.registry.contentType };
  }
}
