// adaptvis/ai-sdk with the AI SDK itself, which needs Node 22: in Node with a model of its own, and in Chromium with a model in a worker.
import { copyFile, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type BuildOptions, build } from "esbuild";
import { afterAll, beforeAll, expect, type TestContext, test } from "vitest";
import { driverEnvironment } from "../../src/index.node.ts";
import { launchChromium } from "../browser/launch.ts";
import { startServer } from "../browser/static-server.ts";
import { executableOf, installedPackages } from "../hosts/runtimes.ts";
import { repositoryRoot } from "../setup/bundle.ts";
import { softwareAdapter } from "../setup/device.ts";
import { runProgram } from "../setup/run-program.ts";
import { makeProject, NODE_PACKAGES, type Project } from "./project.ts";

const PICTURE = join(repositoryRoot, "weights", "tiny-spatial", "demo", "mug_left_of_dog.jpeg");
const QUESTION = "Where is the mug in relation to the dog? Answer with left, right, on or under.";
const examples = join(repositoryRoot, "tools", "examples", "ai-sdk");
const CALLS = JSON.stringify(join(repositoryRoot, "test", "package", "ai-sdk-calls.mjs"));

const answered = { text: "Left", finishReason: "stop", features: [] };

/** What comes of the calls in every host. */
const EXPECTED = {
  bytes: {
    ...answered,
    usage: { inputTokens: 91, outputTokens: 2, totalTokens: 93, cached: 0 },
    adaptvis: {
      method: "greedy",
      settings: {},
      confidence: 1,
      exactConfidence: expect.closeTo(1, 1),
      factor: 1,
      seed: null,
    },
  },
  steered: {
    ...answered,
    usage: { inputTokens: 91, outputTokens: 2, totalTokens: 93, cached: 90 },
    adaptvis: expect.objectContaining({
      method: "adaptvis",
      factor: 0.5,
      settings: expect.objectContaining({ alpha2: 1.2 }),
    }),
  },
  downloaded: "Left",
  stream: { text: "Left", finishReason: "stop", outputTokens: 2, factor: 0.5 },
  seeded: [
    { text: expect.any(String), seed: 7 },
    { text: expect.any(String), seed: 7 },
  ],
  hasOwnSeed: true,
  length: "length",
  stop: ["", "stop"],
  output: { where: "left" },
  isAborted: true,
  abortedBefore: "AbortError",
  unsupported: {
    text: "Left",
    features: ["presencePenalty", "frequencyPenalty", "topP", "topK", "tools", "reasoning"],
  },
  longerPrompt: true,
  failures: {
    file: "InputError: The prompt has a file of type application/pdf, but the model reads text and pictures only.",
    damaged: "InputError: a picture of the prompt is truncated: its header ends before the picture begins.",
    option: expect.stringMatching(
      /^InputError: providerOptions\.adaptvis has no option "onToken"; there are .*\bfactor\b/,
    ),
    value: expect.stringMatching(/^InputError: factor must be /),
    streamed: expect.stringMatching(/^InputError: .*temperature/),
  },
};

let project: Project;

beforeAll(async () => {
  project = await makeProject(NODE_PACKAGES);
});

afterAll(() => project.remove());

/** The SDK's folder and a Node that it runs in; the test is skipped without them. */
function sdk(context: TestContext): { readonly packages: string; readonly node: string } {
  const packages = installedPackages("ai");
  const node = executableOf("node24");
  if (node === undefined || packages === undefined)
    return context.skip("the AI SDK and Node 24 were not fetched; npm run runtimes fetches them");
  return { packages, node };
}

async function bundled(contents: string, options: BuildOptions): Promise<string> {
  const stdin = { contents, resolveDir: project.folder };
  const { outputFiles } = await build({
    stdin,
    bundle: true,
    format: "esm",
    write: false,
    logLevel: "error",
    ...options,
  });
  return outputFiles?.[0]?.text ?? "";
}

/** Draws by seed give the same text twice. */
function check(report: unknown): void {
  expect(report).toEqual(EXPECTED);
  const { seeded } = report as { readonly seeded: readonly { readonly text: string }[] }; // as expected
  expect(seeded[0]?.text).toBe(seeded[1]?.text);
}

test("Node", async (context) => {
  const { packages, node } = sdk(context);
  const code = `
    import { readFile } from "node:fs/promises";
    import { fileSource, InputError, Llava, openNodeAdapter, requestGpuDevice } from "adaptvis";
    import { adaptvis } from "adaptvis/ai-sdk";
    import { callAll } from ${CALLS};
    const { adapter } = await openNodeAdapter("${softwareAdapter()}");
    const model = await Llava.load(fileSource(process.argv[2]), { device: await requestGpuDevice(adapter) });
    const report = await callAll(adaptvis(model), new Uint8Array(await readFile(process.argv[3])));
    // Errors are of the class that the library exports.
    const wrong = await adaptvis(model).doGenerate({ prompt: [{ role: "tool", content: [] }] }).catch((error) => error);
    if (!(wrong instanceof InputError)) throw wrong;
    console.log(JSON.stringify(report));
    process.exit();`;
  const program = join(project.folder, "ai-sdk.mjs");
  // Some of its packages call require.
  const banner = { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' };
  const options = { nodePaths: [packages], external: ["adaptvis", "adaptvis/*"], banner };
  await writeFile(program, await bundled(code, { platform: "node", target: "node22", ...options }));
  const model = join(project.package, "weights", "tiny-spatial");
  const { stdout, stderr, ending } = await runProgram(node, [program, model, PICTURE]);
  if (ending !== 0) throw new Error(`Node ended with ${ending}: ${stderr}`);
  check(JSON.parse(stdout));
});

test("Chromium, with the model in a worker", async (context) => {
  const { packages } = sdk(context);
  const code = `
    import { WorkerModel } from "adaptvis/worker";
    import { adaptvis } from "adaptvis/ai-sdk";
    import { callAll } from ${CALLS};
    const worker = new Worker("/worker.js", { type: "module" });
    const model = await WorkerModel.load(location.origin + "/model/", { worker });
    const picture = new Uint8Array(await (await fetch("/picture.jpeg")).arrayBuffer());
    globalThis.report = await callAll(adaptvis(model), picture);`;
  const browser = { platform: "browser" as const, target: "es2022" };
  const page = await bundled(code, { ...browser, nodePaths: [packages] });
  const host = await bundled('import { serveModel } from "adaptvis/worker"; serveModel();', browser);
  const script = (text: string) => ({ text, extension: ".js" });
  const server = await startServer(({ path }) => {
    if (path === "/") return { text: "<!doctype html><title>AI SDK</title>", extension: ".html" };
    if (path === "/main.js") return script(page);
    if (path === "/worker.js") return script(host);
    if (path === "/picture.jpeg") return { file: PICTURE };
    if (path.startsWith("/model/")) return { file: join(project.package, "weights", "tiny-spatial", path.slice(7)) };
    return undefined;
  });
  const chromium = await launchChromium();
  try {
    const opened = await chromium.newPage();
    await opened.goto(`${server.origin}/`);
    check(await opened.evaluate('import("/main.js").then(() => globalThis.report)'));
  } finally {
    await chromium.close();
    server.close();
  }
});

test("the example", async (context) => {
  const { packages, node } = sdk(context);
  const folder = join(project.folder, "ai-sdk");
  await mkdir(folder);
  await copyFile(join(examples, "ask.mjs"), join(folder, "ask.mjs"));
  // The SDK's own packages are where npm run runtimes has put them, and are found from there.
  await symlink(join(packages, "ai"), join(project.folder, "node_modules", "ai"));
  const { stdout, stderr, ending } = await runProgram(node, [join(folder, "ask.mjs"), PICTURE, QUESTION], {
    env: { ...(await driverEnvironment(softwareAdapter())) },
  });
  expect({ stdout, ending, stderr: ending === 0 ? "" : stderr }).toEqual({
    stdout: "Left (confidence 1, factor 1.2)\n",
    ending: 0,
    stderr: "",
  });
  const manifest = JSON.parse(await readFile(join(examples, "package.json"), "utf8"));
  expect(manifest.dependencies.adaptvis).toBe(`^${project.manifest.version}`);
});
