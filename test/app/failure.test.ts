// Errors become plain data of the right kind, survive structured cloning, and lost devices are counted.
import { describe, expect, test } from "vitest";
import { EngineError, failureOf, isDeviceLoss, Losses, outcomeOf, unwrap } from "../../src/app/engine/failure.ts";
import { AbortError, CheckpointError, GpuError, InputError } from "../../src/errors.ts";

describe("failures", () => {
  test.each([
    [new AbortError("The question"), "stopped"],
    [new CheckpointError("config.json is missing.", { file: "config.json" }), "checkpoint"],
    [new InputError("The prompt is empty."), "input"],
    [new GpuError("no-adapter", "none"), "no-adapter"],
    [new GpuError("limit", "too large"), "limit"],
    [new GpuError("out-of-memory", "full"), "out-of-memory"],
    [new GpuError("device-lost", "gone"), "device-lost"],
    [new GpuError("shader", "wrong"), "internal"],
    [new RangeError("Array buffer allocation failed"), "out-of-memory"],
    [new RangeError("index out of range"), "internal"],
    [new TypeError("no such thing"), "internal"],
    [new EngineError({ kind: "busy", message: "busy" }), "busy"],
    ["a text", "internal"],
  ])("%s is %s", (error, kind) => {
    expect(failureOf(error)).toEqual({ kind, message: error instanceof Error ? error.message : error });
  });

  test("cross a worker's border as data", async () => {
    const bad = structuredClone(await outcomeOf(() => Promise.reject(new InputError("The prompt is empty."))));
    expect(() => unwrap(bad)).toThrow(new EngineError({ kind: "input", message: "The prompt is empty." }));
    expect(unwrap(structuredClone(await outcomeOf(async () => 3)))).toBe(3);
  });
});

describe("losses", () => {
  test("the third within a minute is one too many; older ones do not count", () => {
    const losses = new Losses();
    losses.count("driver", 0);
    losses.count("driver", 10_000);
    losses.count("driver", 65_000); // the first is forgotten
    expect(() => losses.count("driver", 69_000)).toThrow(/lost 3 times within a minute \(driver\)/);
    losses.count("driver", 69_001); // counting starts anew after giving up
  });

  test("an error is a loss only if the device is lost", async () => {
    const lost = Promise.resolve();
    const there = new Promise<never>(() => undefined);
    const error = new GpuError("shader", "The GPU refused a command.");
    expect(await isDeviceLoss(error, lost)).toBe(true);
    expect(await isDeviceLoss(error, there)).toBe(false);
    expect(await isDeviceLoss(new InputError("empty"), lost)).toBe(false);
    // The model of a lost device is disposed of, and its questions end with that.
    const disposed = new AbortError("The question", "because its model was disposed");
    expect(await isDeviceLoss(disposed, lost)).toBe(true);
    expect(await isDeviceLoss(disposed, there)).toBe(false);
    expect(await isDeviceLoss(new GpuError("device-lost", "gone"))).toBe(true);
    expect(await isDeviceLoss(error)).toBe(false);
  });
});
