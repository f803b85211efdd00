import { rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { PeerClient } from "../../src/bench/peer.ts";
import { startPeer, startPeers } from "../../src/bench/peer-process.node.ts";
import { fakePeerFolder } from "./fake-peer.ts";

async function withPeer(
  misbehaviour: Parameters<typeof fakePeerFolder>[0],
  work: (peer: PeerClient) => Promise<void>,
): Promise<void> {
  const folder = await fakePeerFolder(misbehaviour);
  try {
    // Short only where silence is the fault: a process may take a while to start. The start has the same limit.
    const timeoutMs = misbehaviour === "silence" ? 10_000 : 110_000;
    const { peers, missing } = await startPeers(folder, { timeoutMs });
    expect(missing).toEqual([]);
    for (const peer of peers) {
      await work(peer);
      await peer.close();
    }
    expect(peers).toHaveLength(1);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describe("a peer process", () => {
  test("is asked and answers, and may refuse", () =>
    withPeer("none", async (peer) => {
      expect(peer.identity).toEqual({ name: "onnxruntime-fake", version: "1.2.3", adapter: "none" });
      expect(await peer.prefill([1, 2])).toMatchObject({ ok: true, ms: 10, argmax: 5 });
      expect(await peer.decode({ numTokens: 2, firstToken: 5 })).toMatchObject({ ok: true, ids: [5, 6] });
      expect(await peer.vision()).toEqual({ ok: false, reason: "It has no eyes." });
    }));

  test("may print lines that are no answers", () =>
    withPeer("garbage", async (peer) => {
      expect(await peer.prefill([1])).toMatchObject({ ok: true });
    }));

  test("that crashes is an answer with the reason, then and afterwards", () =>
    withPeer("crash", async (peer) => {
      const reason = "fake ended unexpectedly (exit code 3): out of cheese.";
      expect(await peer.prefill([1])).toEqual({ ok: false, reason });
      expect(await peer.vision()).toEqual({ ok: false, reason });
    }));

  test("that never answers is given up", () =>
    withPeer("silence", async (peer) => {
      expect(await peer.prefill([1])).toEqual({ ok: false, reason: "fake did not answer within 10 s." });
    }));

  test("that is no program is missing with a reason", async () => {
    const file = join("/nonexistent", "nothing.mjs");
    expect(await startPeer(file)).toMatchObject({
      file,
      reason: expect.stringContaining("nothing ended unexpectedly"),
    });
  });
});
