// The protocol between the bench and a peer: one JSON object a line, requests on stdin, replies on stdout.
//   {"id":1,"op":"hello"} → {"id":1,"ok":true,…}      or {"id":1,"ok":false,"reason":"one sentence"}
// Nothing else reaches stdout: what libraries print there goes to stderr.

import process from "node:process";
import { createInterface } from "node:readline";

/** A case that the peer cannot run; the message says why and goes into the bench's report. */
export class CannotRun extends Error {}

/**
 * Answers requests in turn until `exit` or the end of stdin. `operations` maps an op to an async function from the request to the
 * reply's fields; an error becomes a reply with `ok: false`. `atEnd` is awaited after the last reply.
 */
export async function serve(operations, { atEnd } = {}) {
  const reply = ownStdout();
  for await (const line of createInterface({ input: process.stdin })) {
    if (line.trim() === "") continue;
    const { id, body, isLast } = await answer(line, operations);
    reply(`${JSON.stringify({ id, ...body })}\n`);
    if (isLast) break;
  }
  await atEnd?.();
  // Native sessions that are torn down while the process ends have crashed; the answers are written, so end at once.
  process.reallyExit(0);
}

async function answer(line, operations) {
  let request;
  try {
    request = JSON.parse(line);
  } catch {
    return { id: null, body: { ok: false, reason: "The request is not JSON." } };
  }
  const { id = null, op } = request;
  if (op === "exit") return { id, body: { ok: true }, isLast: true };
  const operation = Object.hasOwn(operations, op) ? operations[op] : undefined;
  if (operation === undefined) return { id, body: { ok: false, reason: `The peer has no operation ${op}.` } };
  try {
    return { id, body: { ok: true, ...(await operation(request)) } };
  } catch (error) {
    const reason = String(error instanceof Error ? error.message : error).split("\n")[0];
    if (!(error instanceof CannotRun)) process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
    return { id, body: { ok: false, reason } };
  }
}

/** Keeps stdout for the replies: what else JavaScript writes there goes to stderr. The native libraries log to stderr themselves. */
function ownStdout() {
  const write = process.stdout.write.bind(process.stdout);
  process.stdout.write = process.stderr.write.bind(process.stderr);
  return write;
}

/** Ends the process, a usage error, unless the argument `name` has one of `values`. */
export function requireOneOf(name, value, values) {
  if (values.includes(value)) return;
  process.stderr.write(`${name}: expected ${values.join(" or ")}, got ${value}\n`);
  process.exit(2);
}

/** Milliseconds that `work` took, and what it returned. */
export async function timed(work) {
  const start = performance.now();
  const value = await work();
  return { ms: performance.now() - start, value };
}

/** Index of the largest of `values`; the first of equals. */
export function argmax(values) {
  let best = 0;
  for (let index = 1; index < values.length; index++) if (values[index] > values[best]) best = index;
  return best;
}

/** `count` reproducible numbers in [−1, 1). */
export function pseudoRandom(count, seed = 1) {
  const values = new Float32Array(count);
  let state = seed >>> 0;
  for (let index = 0; index < count; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    values[index] = state / 2 ** 31 - 1;
  }
  return values;
}
