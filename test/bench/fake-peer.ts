// A peer program for tests, written into a folder: it speaks the protocol, and misbehaves as its name says.
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PROGRAM = `
import { createInterface } from "node:readline";
const misbehaviour = MISBEHAVIOUR;
const answer = (value) => process.stdout.write(JSON.stringify(value) + "\\n");
createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, op, numTokens, firstToken } = JSON.parse(line);
  if (op === "exit") process.exit(0);
  if (op === "hello") {
    if (misbehaviour === "garbage") process.stdout.write("[W] a library talks\\n{\\"id\\":999,\\"ok\\":true}\\n");
    return answer({ id, ok: true, name: "onnxruntime-fake", version: "1.2.3", adapter: "none" });
  }
  if (op === "prefill" && misbehaviour === "crash") {
    process.stderr.write("out of cheese\\n", () => process.exit(3));
    return;
  }
  if (op === "prefill" && misbehaviour === "silence") return;
  if (op === "vision") return answer({ id, ok: false, reason: "It has no eyes." });
  if (op === "prefill") return answer({ id, ok: true, ms: 10, argmax: 5 });
  if (op === "decode") {
    return answer({ id, ok: true, ms: 20, ids: Array.from({ length: numTokens }, (_, i) => firstToken + i) });
  }
  answer({ id, ok: true, ms: 1 });
});
`;

/** A folder with one peer program. */
export async function fakePeerFolder(misbehaviour: "none" | "garbage" | "crash" | "silence"): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "adaptvis-peer-"));
  await writeFile(join(folder, "fake.mjs"), PROGRAM.replace("MISBEHAVIOUR", JSON.stringify(misbehaviour)));
  return folder;
}
