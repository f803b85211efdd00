// Checks events against the Trace Event Format as far as the engine uses it.

/** What is wrong with the events, a line each; none when Perfetto and chrome://tracing show all of them. */
export function traceProblems(events: readonly unknown[]): string[] {
  const problems: string[] = [];
  const threads = new Map<string, { readonly ts: number; readonly end: number }[]>();
  for (const [index, event] of events.entries()) {
    const field = (name: string): unknown => Reflect.get(Object(event), name);
    const expectField = (name: string, isRight: boolean) => {
      if (!isRight) problems.push(`event ${index}: ${name} is ${JSON.stringify(field(name))}`);
    };
    expectField("name", typeof field("name") === "string" && field("name") !== "");
    expectField("pid", Number.isInteger(field("pid")));
    expectField("tid", Number.isInteger(field("tid")));
    expectField("args", typeof field("args") === "object" && field("args") !== null);
    expectField("ph", field("ph") === "X" || field("ph") === "M");
    if (field("ph") !== "X") continue;
    const [ts, dur] = [field("ts"), field("dur")];
    const isTime = (value: unknown): value is number =>
      typeof value === "number" && Number.isFinite(value) && value >= 0;
    expectField("ts", isTime(ts));
    expectField("dur", isTime(dur));
    if (!isTime(ts) || !isTime(dur)) continue;
    const thread = `${field("pid")}/${field("tid")}`;
    const spans = threads.get(thread) ?? [];
    threads.set(thread, spans);
    spans.push({ ts, end: ts + dur });
  }
  for (const [thread, spans] of threads) problems.push(...crossings(thread, spans));
  return problems;
}

/** Spans of a thread must be apart or one inside the other; a nanosecond's hundredth is rounding. */
function crossings(thread: string, spans: readonly { readonly ts: number; readonly end: number }[]): string[] {
  const rounding = 1e-5;
  const problems: string[] = [];
  const open: number[] = [];
  for (const { ts, end } of [...spans].sort((a, b) => a.ts - b.ts || b.end - a.end)) {
    while ((open.at(-1) ?? Number.POSITIVE_INFINITY) <= ts + rounding) open.pop();
    const innermost = open.at(-1);
    if (innermost !== undefined && end > innermost + rounding) {
      problems.push(`thread ${thread}: the span at ${ts} crosses the end of one at ${innermost}`);
    }
    open.push(end);
  }
  return problems;
}
