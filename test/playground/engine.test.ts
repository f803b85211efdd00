// The playground's engine: both answers over one prefill, one extra step a factor, and what happens when things go wrong.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { PlaygroundEngine } from "../../src/app/engine/engine.ts";
import { failureOf } from "../../src/app/engine/failure.ts";
import type { AskEvent, AskRequest, CheckpointSource, EngineNotice, LoadStep } from "../../src/app/protocol.ts";
import { blobSource } from "../../src/checkpoint/blob-source.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { readSafetensorsHeader } from "../../src/checkpoint/safetensors.ts";
import { Llava } from "../../src/llava.ts";
import { decodeImage } from "../../src/preprocess/decode-image.node.ts";
import { repositoryRoot } from "../setup/bundle.ts";
import { openTestDevice } from "../setup/device.ts";
import { countedFiles, TestHost, tinySpatial } from "./host.ts";

const MODEL = join(repositoryRoot, "weights", "tiny-spatial");
const ignore = () => undefined;

let host: TestHost;
let engine: PlaygroundEngine;

/** A new engine; each load compiles all kernels, so tests share one where they can. */
function start(): void {
  host = new TestHost();
  engine = new PlaygroundEngine(host);
}

function end(): void {
  for (const device of host.devices) device.destroy();
}

async function load(source?: CheckpointSource) {
  return engine.load(source ?? (await tinySpatial()), ignore);
}

async function requestFor(picture = "ball_behind_robot.png"): Promise<AskRequest> {
  return {
    image: await decodeImage(await readFile(join(MODEL, "demo", picture))),
    question: "Where is the ball in relation to the robot? Answer with left, right, front or behind.",
    settings: { alpha1: 0.5, alpha2: 1.2, beta: 0.6 },
    maxNewTokens: 8,
  };
}

/** What a rejected call's error stands for. */
async function failure(work: Promise<unknown>) {
  return work.then(
    () => expect.fail("expected a failure"),
    (error: unknown) => failureOf(error),
  );
}

describe("loading and asking", () => {
  beforeAll(start);
  afterAll(end);

  test("a load reports every phase in order, reads by ranges only, and tells what was loaded", async () => {
    expect(await failure(engine.ask(await requestFor(), ignore))).toMatchObject({ kind: "checkpoint" });
    const files = await countedFiles(MODEL);
    const steps: LoadStep[] = [];
    const view = await engine.load({ kind: "files", name: "tiny-spatial", files }, (step) => steps.push(step));
    const phases = steps.map(({ phase }) => phase).filter((phase, index, all) => phase !== all[index - 1]);
    expect(phases).toEqual(["adapter", "config", "weights", "kernels"]);
    const shares = steps.map(({ share }) => share);
    expect(shares).toEqual(shares.toSorted((a, b) => a - b));
    expect(steps.at(-1)).toMatchObject({ share: 1 });
    expect(steps.at(-1)?.numCompiled).toBe(steps.at(-1)?.numKernels);
    expect(view).toMatchObject({
      name: "tiny-spatial",
      numLayers: 4,
      numHeads: 4,
      imageSide: 112,
      settings: { alpha1: 0.5, alpha2: 1.2, beta: 0.6 },
    });
    const weights = files.find(({ path }) => path === "model.safetensors")?.file;
    expect(Math.max(...(weights?.reads ?? []))).toBeLessThan((weights?.size ?? 0) / 4);
    expect(await failure(engine.answerWithFactor(1, ignore))).toMatchObject({ kind: "input" });
    expect(await failure(engine.trace())).toMatchObject({ kind: "input" });
  });

  test("a checkpoint that is broken is a failure, and the one before stays in use", async () => {
    const files = await countedFiles(MODEL);
    const without = (name: string) => files.filter(({ path }) => path !== name);
    const broken = [
      { files: without("config.json"), message: /config\.json/ },
      { files: without("chat_template.jinja"), message: /no chat_template\.jinja/ },
      { files: without("model.safetensors"), message: /holds neither model\.safetensors nor/ },
      {
        files: [
          ...without("model.safetensors"),
          {
            path: "model.safetensors",
            file: new Blob([await readFile(join(MODEL, "model.safetensors"))]).slice(0, 500_000),
          },
        ],
        message: /cut short|truncated|bytes/,
      },
      {
        files: [...without("config.json"), { path: "config.json", file: new Blob(["{"]) }],
        message: /config\.json.*JSON/,
      },
    ];
    for (const { files: given, message } of broken) {
      const told = await failure(load({ kind: "files", name: "broken", files: given }));
      expect(told).toEqual({ kind: "checkpoint", message: expect.stringMatching(message) });
      expect(told.message).toMatch(/^[^\n]+\.$/);
    }
    const { greedy } = await engine.ask(await requestFor(), ignore);
    expect(greedy.text).toBe("Left");
  });

  test("stops while kernels compile, and a second load stops the first", async () => {
    const stopped = engine.load(await tinySpatial(), ({ phase }) => {
      if (phase === "kernels") void engine.stop();
    });
    expect(await failure(stopped)).toMatchObject({ kind: "stopped" });
    const first = load();
    const second = load();
    expect(await failure(first)).toMatchObject({ kind: "stopped" });
    expect((await second).name).toBe("tiny-spatial");
  });

  test("a question gives what the library gives, over one vision run and one prefill", async () => {
    const { device } = await openTestDevice();
    const request = await requestFor();
    const { image, question, settings, maxNewTokens } = request;
    using model = await Llava.load(fileSource(MODEL), { device });
    const asked = { image, question, maxNewTokens, attention: true };
    const expected = [
      await model.ask({ ...asked, method: "greedy" }),
      await model.ask({ ...asked, method: "adaptvis", ...settings, reusePrefix: false }),
    ] as const;

    host.labels = [];
    const events: AskEvent[] = [];
    const answers = await engine.ask(request, (event) => events.push(event));
    const submits = host.labels.filter((label) => ["vision", "prefill"].includes(label));
    expect(submits).toEqual(["vision", "prefill", "prefill"]); // the last one is the extra step: the last row alone

    for (const [index, answer] of [answers.greedy, answers.adaptvis].entries()) {
      const reference = expected[index];
      if (reference === undefined) throw new Error("two answers are compared");
      expect(answer.tokens.map(({ tokenId }) => tokenId)).toEqual(reference.tokens.map(({ tokenId }) => tokenId));
      expect(answer.text).toBe(reference.text.trim());
      expect(answer.factor).toBe(reference.factor);
      expect(answer.confidence).toBe(reference.confidence);
      const map = reference.attention?.used({ layer: 2, head: 1 });
      const { attention } = answer;
      if (map === undefined || attention === undefined) throw new Error("attention is missing");
      expect([attention.numLayers, attention.numHeads, attention.gridWidth, attention.gridHeight]).toEqual([
        4, 4, 8, 8,
      ]);
      const row = 2 * 4 + 1;
      expect(attention.shares[row]).toBeCloseTo(map.share, 4);
      attention.values.subarray(row * 64, (row + 1) * 64).forEach((value, patch) => {
        expect(value).toBeCloseTo(map.values[patch] ?? Number.NaN, 4);
      });
    }
    const streamed = (kind: string) =>
      events.map((event) => (event.kind === "token" && event.answer === kind ? event.text : "")).join("");
    expect(streamed("greedy").trim()).toBe(answers.greedy.text);
    expect(streamed("adaptvis").trim()).toBe(answers.adaptvis.text);
    expect(events[0]).toEqual({ kind: "stage", text: "Looking at the picture" });

    const [first] = answers.greedy.tokens;
    expect(first?.text).toBe(" Left");
    expect(first?.alternatives).toHaveLength(5);
    expect(first?.alternatives[0]).toMatchObject({ tokenId: first?.tokenId, text: " Left" });
    expect(first?.probability).toBeCloseTo(answers.greedy.confidence, 2);
    expect(answers.picture).toMatchObject({ width: 224, height: 224 });
    expect(answers.imageSpan).toEqual(expected[0].imageSpan);
  });

  test("another factor is one extra step: no vision run, and a prefill of the last row alone", async () => {
    const request = await requestFor();
    const { adaptvis } = await engine.ask(request, ignore);
    host.labels = [];
    const same = await engine.answerWithFactor(adaptvis.factor, ignore);
    const steps = host.labels.filter((label) => ["vision", "prefill", "step 1 rows"].includes(label));
    expect(steps).toEqual(["prefill", ...same.tokens.slice(1).map(() => "step 1 rows")]);
    expect(same).toMatchObject({ kind: "factor", text: adaptvis.text, factor: adaptvis.factor });
    expect(same.tokens).toEqual(adaptvis.tokens);
    const inverse = await engine.answerWithFactor(1.5, ignore);
    expect(inverse.text).toBe("Left");
  });

  test("a question without a picture has no attention, and no factor to act on anything", async () => {
    host.labels = [];
    const answers = await engine.ask({ ...(await requestFor()), image: undefined }, ignore);
    expect(host.labels.filter((label) => label === "prefill")).toHaveLength(1);
    expect(answers.greedy.tokens.length).toBeGreaterThan(0);
    expect([answers.picture, answers.greedy.attention]).toEqual([undefined, undefined]);
    expect(answers.adaptvis).toEqual({ ...answers.greedy, kind: "adaptvis" });
    expect((await engine.explain(ignore)).factor).toBe(1);
  });

  test("the trace of the last question is a safetensors file", async () => {
    const { promptTokens } = await engine.ask(await requestFor(), ignore);
    const bytes = await engine.trace();
    const source = blobSource([["trace.safetensors", new Blob([bytes])]], "trace");
    const { tensors, metadata } = await readSafetensorsHeader(source, "trace.safetensors");
    expect(tensors.get("layers.3.attention_probs")?.shape).toEqual([4, promptTokens]);
    expect(metadata.factor).toBe("0.5");
  });

  test("the last question is explained pass by pass, with what it answered", async () => {
    const { adaptvis } = await engine.ask(await requestFor(), ignore);
    const stages: string[] = [];
    const { text, factor, passes, kernels } = structuredClone(await engine.explain(({ stage }) => stages.push(stage)));
    expect([text, factor]).toEqual([adaptvis.text, adaptvis.factor]);
    expect(passes.map(({ stage }) => stage)).toEqual(stages);
    expect(new Set(stages).has("adaptvis step")).toBe(true);
    for (const { kernel } of passes) expect(kernels[kernel]?.wgsl).toContain("fn main");
  });

  test("what cannot be asked is a failure, and the engine goes on", async () => {
    const request = await requestFor();
    expect(await failure(engine.ask({ ...request, question: " \n" }, ignore))).toMatchObject({ kind: "input" });
    const settings = { ...request.settings, beta: 2 };
    expect(await failure(engine.ask({ ...request, settings }, ignore))).toMatchObject({ kind: "input" });
    const text = new Blob(["no picture at all"]);
    expect(await failure(engine.decodePicture(text, "notes.jpg"))).toEqual({
      kind: "input",
      message: "notes.jpg is not a picture: expected a JPEG, PNG or WebP picture.",
    });
    expect(await failure(engine.decodePicture(text, "").then(() => engine.answerWithFactor(-1, ignore)))).toMatchObject(
      {
        kind: "input",
      },
    );
    expect((await engine.ask(request, ignore)).greedy.text).toBe("Left");
    expect(await failure(engine.answerWithFactor(-1, ignore))).toMatchObject({ kind: "input" });
  });

  test("a second question is refused, and the first goes on; stop ends it, and the next works", async () => {
    const request = await requestFor();
    const first = engine.ask(request, ignore);
    expect(await failure(engine.ask(request, ignore))).toMatchObject({ kind: "busy" });
    expect((await first).greedy.text).toBe("Left");

    const stopped = engine.ask(request, ({ kind }) => {
      if (kind === "token") void engine.stop();
    });
    expect(await failure(stopped)).toMatchObject({ kind: "stopped" });
    expect((await engine.ask(request, ignore)).adaptvis.text).toBe("Behind");
  });
});

describe("a lost device", () => {
  beforeEach(start);
  afterEach(end);

  function watched() {
    const notices: EngineNotice[] = [];
    const recovered = new Promise<EngineNotice>((resolve) => {
      void engine.watch((notice) => {
        notices.push(notice);
        if (notice.kind === "recovered" || notice.kind === "gave-up") resolve(notice);
      });
    });
    const kinds = () => [...new Set(notices.map(({ kind }) => kind))];
    return { recovered, kinds };
  }

  test("comes back by itself, idle or under a question; the third time within a minute is the end", async () => {
    await load();
    const idle = watched();
    const before = await engine.ask(await requestFor(), ignore);
    host.numRefusals = 1; // as while the browser starts its GPU process anew
    host.device.destroy();
    expect(await idle.recovered).toEqual({ kind: "recovered" });
    expect(idle.kinds()).toEqual(["device-lost", "recovering", "recovered"]);
    expect(host.devices).toHaveLength(2);
    const again = await engine.answerWithFactor(before.adaptvis.factor, ignore);
    expect(again.text).toBe(before.adaptvis.text);

    host.onEncoder = (label) => {
      if (label === "vision" && host.devices.length === 2) host.device.destroy();
    };
    const events: AskEvent[] = [];
    const asked = await engine.ask(await requestFor("gift_behind_guitar.png"), (event) => events.push(event));
    expect(asked.greedy.tokens.length).toBeGreaterThan(0);
    expect(events.filter(({ kind }) => kind === "restart")).toHaveLength(1);
    expect(host.devices).toHaveLength(3);

    const third = watched();
    host.device.destroy();
    expect(await third.recovered).toMatchObject({ kind: "gave-up", failure: { kind: "device-lost" } });
    expect(await failure(engine.ask(await requestFor(), ignore))).toMatchObject({ kind: "device-lost" });
    await load();
    expect((await engine.ask(await requestFor(), ignore)).greedy.text).toBe("Left");

    const last = watched();
    host.numRefusals = 99; // as in a browser whose GPU process crashed too often
    host.device.destroy();
    const message = expect.stringContaining("load this page again");
    expect(await last.recovered).toEqual({ kind: "gave-up", failure: { kind: "device-lost", message } });
  });

  test("twice under one question fails it, and the model comes back all the same", async () => {
    await load();
    const { recovered } = watched();
    host.onEncoder = (label) => {
      if (label === "prefill" && host.devices.length <= 2) host.device.destroy();
    };
    expect(await failure(engine.ask(await requestFor(), ignore))).toMatchObject({ kind: "device-lost" });
    expect(await recovered).toEqual({ kind: "recovered" });
  });

  test("while loading: the load goes on with a new device, and the page hears that it is there", async () => {
    const { recovered, kinds } = watched();
    let isLost = false;
    const view = await engine.load(await tinySpatial(), ({ phase, share }) => {
      if (isLost || phase !== "weights" || share < 0.2) return;
      isLost = true;
      host.device.destroy();
    });
    expect(view.name).toBe("tiny-spatial");
    expect(host.devices).toHaveLength(2);
    expect(await recovered).toEqual({ kind: "recovered" });
    expect(kinds()).toEqual(["device-lost", "recovered"]);
  });
});

describe("SmolVLM on an adapter that computes on the CPU", () => {
  beforeAll(start);
  afterAll(end);

  test("sees a picture whole: one pass of the vision tower, and a map of one tile", async () => {
    const files = await countedFiles(join(repositoryRoot, "test", "golden", "smolvlm"));
    const view = await load({ kind: "files", name: "smolvlm", files });
    expect(view).toMatchObject({ imageSide: 16, pictureForm: "square" });
    host.labels = [];
    const answers = await engine.ask({ ...(await requestFor()), question: "Where?" }, ignore);
    expect(host.labels.filter((label) => label.startsWith("vision"))).toHaveLength(1);
    expect(answers.greedy.attention).toBeDefined();
  });
});
