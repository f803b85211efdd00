// The page's end and the worker's end over a real message channel: failures, order of events, moved arrays, crashes.
import * as Comlink from "comlink";
import { afterEach, expect, test } from "vitest";
import { WorkerApi } from "../../src/app/engine/worker-api.ts";
import { EngineClient } from "../../src/app/engine-client.ts";
import type { ModelsApi } from "../../src/app/models-protocol.ts";
import type { AskEvent, EngineApi, EngineNotice, ModelView } from "../../src/app/protocol.ts";
import { InputError } from "../../src/errors.ts";

const ports: MessagePort[] = [];

afterEach(() => {
  for (const port of ports.splice(0)) port.close();
});

/** A worker's end of a channel with an engine behind it; what the test does not ask for is refused. */
function workerWith(engine: Partial<EngineApi & ModelsApi>): Worker {
  const { port1, port2 } = new MessageChannel();
  ports.push(port1, port2);
  const refuse = () => Promise.reject(new Error("not in this test"));
  const whole = new Proxy(engine, { get: (target, key) => Reflect.get(target, key) ?? refuse });
  const both = whole as EngineApi & ModelsApi; // the proxy has every method
  Comlink.expose(new WorkerApi(both, both), port2);
  port1.start();
  return Object.assign(port1, { terminate: () => port1.close() }) as unknown as Worker; // what the client uses of one
}

const request = { image: undefined, question: "?", settings: { alpha1: 1, alpha2: 1, beta: 0 }, maxNewTokens: 1 };

test("a failure arrives as an EngineError with its kind", async () => {
  const client = new EngineClient(() =>
    workerWith({ ask: () => Promise.reject(new InputError("The prompt is empty: give at least one word.")) }),
  );
  await expect(client.ask(request, () => undefined)).rejects.toMatchObject({
    name: "EngineError",
    message: "The prompt is empty: give at least one word.",
    failure: { kind: "input" },
  });
});

test("everything that happened is told before the result", async () => {
  const view = { name: "tiny" } as ModelView; // what the client passes on unread
  const client = new EngineClient(() =>
    workerWith({
      load: async (_, onStep) => {
        for (let step = 0; step < 50; step++) {
          onStep({
            phase: "weights",
            loadedBytes: step,
            totalBytes: 50,
            numCompiled: 0,
            numKernels: 0,
            share: step / 50,
          });
        }
        return view;
      },
    }),
  );
  const heard: number[] = [];
  const loaded = await client.load({ kind: "url", url: "http://localhost/" }, ({ loadedBytes }) =>
    heard.push(loadedBytes),
  );
  expect(loaded).toEqual(view);
  expect(heard).toEqual(Array.from({ length: 50 }, (_, step) => step));
});

test("a trace is moved, not copied", async () => {
  const bytes = new Uint8Array([1, 2, 3]);
  const client = new EngineClient(() => workerWith({ trace: async () => bytes }));
  expect(await client.trace()).toEqual(new Uint8Array([1, 2, 3]));
  expect(bytes.byteLength).toBe(0);
});

test("a worker that cannot be started fails the call with the reason, and the next call tries again", async () => {
  const starts = [
    () => Promise.reject(new TypeError("Policy adaptvis disallowed.")),
    async () => workerWith({ stop: async () => undefined, watch: async () => undefined }),
  ];
  const client = new EngineClient(() => starts.shift()?.() ?? Promise.reject(new Error("started too often")));
  await client.watch(() => undefined);
  starts.unshift(() => Promise.reject(new TypeError("Policy adaptvis disallowed.")));
  await expect(client.stop()).rejects.toMatchObject({
    failure: {
      kind: "internal",
      message: "The worker that runs the model could not be started: Policy adaptvis disallowed.",
    },
  });
  await client.stop();
  expect(starts).toEqual([]);
});

test("a crashed worker fails what runs, and the next call has a new one that tells the same watchers", async () => {
  const workers: Worker[] = [];
  const tellers: ((notice: EngineNotice) => void)[] = [];
  const client = new EngineClient(() => {
    const worker = workerWith({
      ask: () => new Promise(() => undefined),
      stop: async () => undefined,
      watch: async (onNotice) => void tellers.push(onNotice),
    });
    workers.push(worker);
    return worker;
  });
  const notices: EngineNotice[] = [];
  await client.watch((notice) => notices.push(notice));
  const events: AskEvent[] = [];
  const asked = client.ask(request, (event) => events.push(event));
  workers[0]?.dispatchEvent(new Event("error", { cancelable: true }));
  await expect(asked).rejects.toMatchObject({ failure: { kind: "internal" } });
  expect(notices).toMatchObject([{ kind: "gave-up", failure: { kind: "internal" } }]);

  await client.stop();
  expect(workers).toHaveLength(2);
  await expect.poll(() => tellers.length).toBe(2);
  tellers[1]?.({ kind: "recovered" });
  await expect.poll(() => notices.at(-1)?.kind).toBe("recovered");
});
