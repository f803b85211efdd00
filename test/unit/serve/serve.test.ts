// Parts of the server without a model: trimming, admission, addresses of pictures.
import { describe, expect, test } from "vitest";
import { Admission } from "../../../src/serve/admission.ts";
import { fetchPicture } from "../../../src/serve/image-hosts.node.ts";
import { readPicture } from "../../../src/serve/pictures.ts";
import { Trimmer } from "../../../src/serve/trimmer.ts";
import { createRandom } from "../../reference/random.ts";

const never = new AbortController().signal;

test("a text in pieces is trimmed as the whole is", () => {
  const random = createRandom(3);
  for (let round = 0; round < 200; round++) {
    const characters = Array.from({ length: 12 }, () => " \n\tab é"[random.integer(7)] ?? "");
    const pieces: string[] = [];
    for (let at = 0; at < characters.length; ) {
      const length = random.integer(4);
      pieces.push(characters.slice(at, at + length).join(""));
      at += length;
    }
    const trimmer = new Trimmer();
    expect(pieces.map((piece) => trimmer.push(piece)).join("")).toBe(characters.join("").trim());
  }
});

describe("admission", () => {
  const limits = { maxRunning: 1, maxWaiting: 1, maxPerClient: 2, timeoutMs: 60_000 };

  /** Work that ends when it is told to, or stopped. */
  function held() {
    let finish = () => {};
    const work = (signal: AbortSignal) =>
      new Promise<string>((resolve, reject) => {
        finish = () => resolve("done");
        signal.addEventListener("abort", () => reject(signal.reason));
      });
    return { work, finish: () => finish() };
  }

  test("one runs, one waits, the next is sent away with the time to come back", async () => {
    const admission = new Admission(limits);
    const [first, second] = [held(), held()];
    const running = admission.run("a", never, first.work);
    const waiting = admission.run("b", never, second.work);
    await expect(admission.run("c", never, held().work)).rejects.toMatchObject({
      status: 429,
      retryAfter: expect.any(Number),
    });
    first.finish();
    expect(await running).toBe("done");
    await expect.poll(() => admission.numRunning).toBe(1);
    second.finish();
    expect(await waiting).toBe("done");
  });

  test("a client has its share, which its ended requests give back", async () => {
    const admission = new Admission({ ...limits, maxRunning: 4, maxWaiting: 9 });
    const [first, second] = [held(), held()];
    const runs = [admission.run("a", never, first.work), admission.run("a", never, second.work)];
    await expect(admission.run("a", never, held().work)).rejects.toMatchObject({ status: 429 });
    first.finish();
    await runs[0];
    const third = held();
    const last = admission.run("a", never, third.work);
    await expect.poll(() => admission.numRunning).toBe(2);
    second.finish();
    third.finish();
    expect(await Promise.all([runs[1], last])).toEqual(["done", "done"]);
  });

  test("who goes away while waiting never runs; who takes too long is stopped", async () => {
    const admission = new Admission(limits);
    const first = held();
    const running = admission.run("a", never, first.work);
    const stop = new AbortController();
    let hasRun = false;
    const waiting = admission.run("b", stop.signal, async () => {
      hasRun = true;
    });
    stop.abort();
    await expect(waiting).rejects.toThrow();
    first.finish();
    await running;
    expect(hasRun).toBe(false);
    const slow = new Admission({ ...limits, timeoutMs: 5 });
    await expect(slow.run("a", never, held().work)).rejects.toMatchObject({ status: 504 });
  });

  test("the end waits for what runs, stops it after its grace, and takes nothing new", async () => {
    const admission = new Admission(limits);
    const running = admission.run("a", never, held().work);
    const drained = admission.drain(5);
    await expect(admission.run("b", never, held().work)).rejects.toMatchObject({ status: 503 });
    await expect(running).rejects.toMatchObject({ status: 503, code: "ending" });
    await drained;
  });
});

describe("addresses of pictures", () => {
  const hosts = { maxBytes: 1000, timeoutMs: 5000 };
  const from = (address: string, allowed: readonly string[]) =>
    fetchPicture(new URL(address), { ...hosts, allowed }, never);

  test.each([
    ["another host", "http://example.org/a.png", [], /are not allowed here/],
    ["loopback by number", "http://127.0.0.1/a.png", ["127.0.0.1"], /is a private address/],
    ["loopback by a decimal number", "http://2130706433/", ["127.0.0.1"], /is a private address/],
    ["loopback in IPv6", "http://[::1]/", ["::1"], /is a private address/],
    ["IPv4 inside of IPv6", "http://[::ffff:10.0.0.1]/", ["::ffff:a00:1"], /is a private address/],
    ["the metadata of a cloud", "http://169.254.169.254/", ["169.254.169.254"], /is a private address/],
    ["a private network", "http://192.168.1.1/", ["192.168.1.1"], /is a private address/],
    ["a name that resolves to loopback", "http://localhost:9/", ["localhost"], /resolves to a private address/],
  ])("%s is refused, whoever allowed it", async (_, address, allowed, message) => {
    await expect(from(address, allowed)).rejects.toThrow(message);
  });

  test("data URIs are decoded, and nothing but http(s) is fetched", async () => {
    const reader = {
      decode: async (data: Uint8Array<ArrayBuffer>) => ({ width: data.length, height: 1, data }),
      fetch: async () => Uint8Array.of(1),
    };
    expect((await readPicture("data:image/png;base64,AAEC", reader, never)).width).toBe(3);
    expect((await readPicture("https://example.org/a", reader, never)).width).toBe(1);
    for (const address of [
      "ftp://example.org/a",
      "file:///etc/passwd",
      "a.png",
      "data:image/png,abc",
      "data:;base64,§",
    ]) {
      await expect(readPicture(address, reader, never)).rejects.toMatchObject({ status: 400 });
    }
  });
});
