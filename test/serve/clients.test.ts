// The server as real clients see it: OpenAI's packages for JavaScript and Python, and the AI SDK, which needs Node 22. Each is a program
// in clients/ that makes the same requests.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import { root, tinySpatial } from "../cli/command.ts";
import { executableOf, installedPackages } from "../hosts/runtimes.ts";
import { bundleProgram, programFolder, removePrograms } from "../setup/bundle.ts";
import { type ProgramResult, runProgram } from "../setup/run-program.ts";
import { type RunningServer, startServer } from "./server.ts";

const KEY = "a-secret.key";
const CLIENTS = join(root, "test", "serve", "clients");

/** What comes of the requests of every client. */
const EXPECTED = {
  chat: ["Left", "stop", 2, true],
  stream: ["Left", "stop", 2],
  streamedField: [true, "scaling", 4, "data:image/png;base64,"],
  length: "length",
  stop: ["", "stop"],
  logprobs: [
    [" Left", 2],
    ["</s>", 2],
  ],
  isRepeatable: true,
  field: ["adaptvis", 4, null],
  header: ["scaling", 4, null],
  isAborted: true,
  errors: {
    wrong: [400, "invalid_request_error"],
    key: [401, "authentication_error"],
    model: [404, "invalid_request_error"],
    many: [429, "rate_limit_error"],
  },
};

let server: RunningServer;
let input: string;

beforeAll(async () => {
  server = await startServer("--api-key", KEY, "--max-per-client", "3");
  const bytes = await readFile(join(tinySpatial, "demo", "mug_left_of_dog.jpeg"));
  input = JSON.stringify({
    url: server.url,
    key: KEY,
    picture: `data:image/jpeg;base64,${bytes.toString("base64")}`,
    question: "Where is the mug in relation to the dog? Answer with left, right, on or under.",
  });
});

afterAll(async () => {
  await removePrograms();
  expect(await server.stop()).toBe(0);
});

function reportOf({ ending, stdout, stderr }: ProgramResult): unknown {
  if (ending !== 0) throw new Error(`The client ended with ${ending}: ${stderr}`);
  return JSON.parse(stdout);
}

test("OpenAI's package for JavaScript", async () => {
  const program = await bundleProgram("test/serve/clients/openai.ts", "node");
  expect(reportOf(await runProgram(process.execPath, [program], { input }))).toEqual(EXPECTED);
});

test("OpenAI's package for Python", async (context) => {
  const python = process.env.ADAPTVIS_TEST_PYTHON ?? "python3";
  const { ending } = await runProgram(python, ["-c", "import openai"]).catch(() => ({ ending: 1 }));
  if (ending !== 0) return context.skip("no Python with openai: set ADAPTVIS_TEST_PYTHON to one");
  expect(reportOf(await runProgram(python, [join(CLIENTS, "openai_client.py")], { input }))).toEqual(EXPECTED);
});

test("the AI SDK with @ai-sdk/openai-compatible", async (context) => {
  const node = executableOf("node24");
  const packages = installedPackages("ai", "@ai-sdk/openai-compatible");
  if (node === undefined || packages === undefined)
    return context.skip("the AI SDK and Node 24 were not fetched; npm run runtimes fetches them");
  const program = join(programFolder, "ai-sdk.mjs");
  await build({
    entryPoints: [join(CLIENTS, "ai-sdk.mjs")],
    outfile: program,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node24",
    nodePaths: [packages],
    logLevel: "error",
    // Some of its packages call require.
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  });
  expect(reportOf(await runProgram(node, [program], { input }))).toEqual(EXPECTED);
});
