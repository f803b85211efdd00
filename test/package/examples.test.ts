// The examples as a user runs them, with the package out of the tarball: in Chromium, Node and Deno. And the package's answers
// in a bundle and in a worker beside Node's, number by number; those of its file for pages are compared in test/hosts.
import { cp, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type * as adaptvis from "../../src/index.node.ts";
import { driverEnvironment } from "../../src/index.node.ts";
import { runInChromium } from "../browser/chromium.ts";
import { launchChromium } from "../browser/launch.ts";
import { startServer } from "../browser/static-server.ts";
import { denoExecutable } from "../deno/deno.ts";
import { ask, differences, type HostAnswer } from "../hosts/ask.ts";
import { repositoryRoot } from "../setup/bundle.ts";
import { softwareAdapter } from "../setup/device.ts";
import { runProgram } from "../setup/run-program.ts";
import { makeProject, NODE_PACKAGES, type Project } from "./project.ts";

const examples = join(repositoryRoot, "tools", "examples");
const picture = join(repositoryRoot, "weights", "tiny-spatial", "demo", "mug_left_of_dog.jpeg");
const QUESTION = "Where is the mug in relation to the dog? Answer with left, right, on or under.";
const ANSWER = "Left (confidence 1, factor 1.2)";

let project: Project;
let model: string;

beforeAll(async () => {
  project = await makeProject(["esbuild", "typescript", ...NODE_PACKAGES]);
  model = join(project.package, "weights", "tiny-spatial");
  for (const name of ["bundler", "page", "worker", "store", "node", "deno"]) {
    await cp(join(examples, name), join(project.folder, name), { recursive: true });
    await symlink(join(project.folder, "node_modules"), join(project.folder, name, "node_modules"));
  }
  const bin = join(project.folder, "node_modules", ".bin", "esbuild");
  await mkdir(dirname(bin));
  await symlink(join(repositoryRoot, "node_modules", ".bin", "esbuild"), bin);
});

afterAll(() => project.remove());

/** A host's policy under which every page of the examples runs. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "connect-src 'self'",
  "worker-src 'self'",
  "frame-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types adaptvis",
].join("; ");

/** A page after its first answer. */
interface AskedPage {
  /** Runs a script in it. @returns what it shows in the end. */
  readonly run: (code: string) => Promise<string>;
  /** What the server was asked for. */
  readonly requests: readonly string[];
}

/**
 * Opens a folder's page in a frame without forms, picks the picture, asks and waits for the answer.
 * @param before a script that runs in the page before the click that asks
 * @param after what happens then
 */
async function askInPage(
  folder: string,
  before?: string,
  after: (page: AskedPage) => Promise<void> = async () => undefined,
): Promise<{ readonly answer: string; readonly before: string; readonly requests: readonly string[] }> {
  const requests: string[] = [];
  const server = await startServer(
    ({ path, query }) => {
      requests.push(path + query);
      const frame = `<iframe sandbox="allow-scripts allow-same-origin" width="800" height="500" src="/"></iframe>`;
      if (path === "/frame") return { text: frame, extension: ".html" };
      return { file: join(folder, path === "/" ? "index.html" : path) };
    },
    { "content-security-policy": POLICY },
  );
  const browser = await launchChromium();
  try {
    const page = await browser.newPage();
    const printed: string[] = [];
    page.on("console", (message) => printed.push(message.text()));
    page.on("pageerror", (error) => printed.push(String(error)));
    await page.goto(`${server.origin}/frame`);
    const [, frame] = page.frames();
    if (frame === undefined) throw new Error("The page has no frame.");
    await frame.setInputFiles("[name=picture]", picture);
    await frame.fill("[name=question]", QUESTION);
    // The last text is the answer's or an error's: no other has a bracket or a full stop.
    const output = frame.locator("output");
    const settled = async () => {
      await output.filter({ hasText: /\(confidence|\.$/ }).waitFor({ timeout: 60_000 });
      return (await output.textContent()) ?? "";
    };
    let first = "";
    if (before !== undefined) {
      await frame.evaluate(before);
      first = await settled();
    }
    await frame.press("[name=question]", "Enter");
    if (before !== undefined) await output.filter({ hasNotText: first }).waitFor();
    const answer = await settled();
    const run = async (code: string) => {
      await frame.evaluate(`document.querySelector("output").textContent = ""; ${code}`);
      return settled();
    };
    await after({ run, requests });
    const problems = printed.filter((line) => !/favicon|GPU stall|fallback adapter|escape its sandboxing/i.test(line));
    expect(problems).toEqual([]);
    // The question is in no address.
    expect(frame.url()).toBe(`${server.origin}/`);
    expect(requests.filter((request) => request.includes("?"))).toEqual([]);
    return { answer, before: first, requests };
  } finally {
    await browser.close();
    server.close();
  }
}

async function npmRunBuild(folder: string): Promise<void> {
  const { stdout, stderr, ending } = await runProgram("npm", ["run", "-s", "build"], { cwd: folder });
  expect({ ending, output: ending === 0 ? "" : stdout + stderr }).toEqual({ ending: 0, output: "" });
}

describe("the examples", () => {
  test("bundler: the template engine is fetched only for the checkpoint that has a template", async () => {
    const folder = join(project.folder, "bundler");
    await npmRunBuild(folder);
    const { answer, requests } = await askInPage(join(folder, "public"));
    expect(answer).toBe(ANSWER);
    const chunks = requests.filter((path) => path.endsWith(".js") && path !== "/main.js");
    expect(chunks.length).toBeGreaterThan(0);
    expect(requests.indexOf(String(chunks.at(-1)))).toBeGreaterThan(
      requests.indexOf("/tiny-spatial/chat_template.jinja"),
    );
  });

  test("page: its script, one of the package, and nothing else of it but the checkpoint", async () => {
    const { answer, requests } = await askInPage(join(project.folder, "page"));
    expect(answer).toBe(ANSWER);
    expect(requests.filter((path) => path.endsWith(".js"))).toEqual([
      "/ask.js",
      "/node_modules/adaptvis/dist/browser.js",
    ]);
  });

  test("worker: it stops, and answers the next question", async () => {
    const folder = join(project.folder, "worker");
    await npmRunBuild(folder);
    const stop = 'document.querySelector("[name=ask]").click(); document.querySelector("[name=stop]").click();';
    const { answer, before } = await askInPage(join(folder, "public"), stop);
    expect({ before, answer }).toEqual({ before: "Stopped.", answer: ANSWER });
  });

  test("store: a download that was paused goes on, the model is asked from the browser's storage, and deleted", async () => {
    const folder = join(project.folder, "store");
    await npmRunBuild(folder);
    const click = (name: string) => `document.querySelector("[name=${name}]").click();`;
    const whenTold = `(_, observer) => { observer.disconnect(); ${click("pause")} }`;
    const pause = `new MutationObserver(${whenTold}).observe(document.querySelector("output"), { childList: true });
      ${click("keep")}`;
    const ofModel = (requests: readonly string[]) =>
      requests.filter((path) => path.startsWith("/tiny-spatial/")).length;
    const { answer, before } = await askInPage(join(folder, "public"), pause, async ({ run, requests }) => {
      const numRequests = ofModel(requests);
      expect(numRequests).toBeGreaterThan(5);
      expect(await run(click("ask"))).toBe(ANSWER);
      expect(ofModel(requests)).toBe(numRequests);
      expect(await run(click("remove"))).toMatch(/^\d+ bytes are kept here(, for good)?\.$/);
    });
    expect({ before, answer }).toEqual({ before: "Paused.", answer: ANSWER });
  });

  test("node", async () => {
    const { stdout, stderr, ending } = await runProgram(process.execPath, ["ask.mjs", picture, QUESTION], {
      cwd: join(project.folder, "node"),
      env: { ...(await driverEnvironment(softwareAdapter())) },
    });
    expect({ stdout, ending, stderr: ending === 0 ? "" : stderr }).toEqual({
      stdout: `${ANSWER}\n`,
      ending: 0,
      stderr: "",
    });
  });

  test("deno", async () => {
    const folder = join(project.folder, "deno");
    // The packages come from node_modules here, as after `deno install`, and not from the network.
    const manifest = { imports: {}, nodeModulesDir: "manual" };
    await writeFile(join(folder, "deno.json"), JSON.stringify(manifest));
    await writeFile(join(folder, "package.json"), JSON.stringify({ dependencies: { adaptvis: "*" } }));
    const args = [
      "run",
      "--no-prompt",
      "--allow-read",
      "--allow-env",
      "--allow-ffi",
      "--no-remote",
      "ask.ts",
      model,
      picture,
      QUESTION,
    ];
    const { stdout, stderr, ending } = await runProgram(denoExecutable(), args, {
      cwd: folder,
      env: {
        ...(await driverEnvironment("swiftshader")),
        DENO_DIR: join(project.folder, ".deno"),
        DENO_NO_UPDATE_CHECK: "1",
        NO_COLOR: "1",
      },
    });
    expect({ stdout, ending, stderr: ending === 0 ? "" : stderr }).toEqual({
      stdout: `${ANSWER}\n`,
      ending: 0,
      stderr: "",
    });
  });

  test("name the version that this is", async () => {
    const { version } = project.manifest;
    for (const name of ["bundler", "page", "worker", "store", "node"]) {
      const manifest = JSON.parse(await readFile(join(examples, name, "package.json"), "utf8"));
      expect(manifest.dependencies.adaptvis, name).toBe(`^${version}`);
    }
    expect(await readFile(join(examples, "deno", "deno.json"), "utf8")).toContain(`npm:adaptvis@^${version}"`);
    expect(await readFile(join(examples, "page", "ask.js"), "utf8")).toContain(`/adaptvis@${version}/`);
  });
});

describe("the packed package gives Node's ids and log-probabilities", () => {
  let expected: HostAnswer;

  beforeAll(async () => {
    const host = (await import(pathToFileURL(join(project.package, "dist", "node.js")).href)) as typeof adaptvis; // its bundle
    const { adapter } = await host.openNodeAdapter(softwareAdapter());
    expected = await ask(host, host.fileSource(model), await host.requestGpuDevice(adapter));
    expect(expected.ids).toHaveLength(6);
  });

  test("out of a bundle", async () => {
    const code = `
      import { httpSource, Llava, requestGpuDevice } from "adaptvis";
      import { ask } from ${JSON.stringify(join(repositoryRoot, "test", "hosts", "ask.ts"))};
      export async function run() {
        const device = await requestGpuDevice(await navigator.gpu.requestAdapter());
        return ask({ Llava }, httpSource(new URL("/model/", location.href).href), device);
      }`;
    const { outputFiles } = await build({
      stdin: { contents: code, resolveDir: project.folder },
      bundle: true,
      minify: true,
      format: "esm",
      platform: "browser",
      write: false,
      logLevel: "warning",
    });
    const actual = await runInChromium(outputFiles[0]?.text ?? "", { "/model": model });
    expect(differences(actual as HostAnswer, expected)).toEqual([]); // what run() returns
  });

  test("in a worker, and the worker's client does what it says", async () => {
    const bundle = (entry: string, outfile?: string) =>
      build({
        absWorkingDir: project.folder,
        entryPoints: [join(repositoryRoot, "test", "package", entry)],
        bundle: true,
        minify: true,
        format: "esm",
        platform: "browser",
        ...(outfile === undefined ? { write: false } : { outfile }),
        logLevel: "warning",
        plugins: [
          {
            name: "the package in the place of src",
            setup: ({ onResolve }) => {
              onResolve({ filter: /\/src\/.*\.ts$/ }, ({ path }) => ({
                path: join(project.package, "dist", "esm", path.replace(/^.*\/src\//, "").replace(/ts$/, "js")),
                sideEffects: false,
              }));
            },
          },
        ],
      });
    const host = join(project.folder, "worker-host");
    await bundle("worker-host.ts", join(host, "worker.js"));
    const { outputFiles } = await bundle("worker-calls.ts");
    const files = { "/host": host, "/model": model, "/picture.jpeg": picture };
    const report = await runInChromium(outputFiles?.[0]?.text ?? "", files);
    const { host: actual, ...rest } = report as { readonly host: HostAnswer }; // what run() returns
    expect(differences(actual, expected)).toEqual([]);
    expect(rest).toEqual({
      phases: ["keep", "load"],
      name: true,
      stages: ["vision", "prefill", "factor", "generate"],
      layer: 1,
      hasBoth: true,
      conversation: ["Left", true, ["user", "assistant", "user", "assistant"]],
      closed: "InputError: The session is closed: open another.",
      stopped: "AbortError: The answer was stopped by its AbortSignal.",
      after: expected.ids,
      wrong: [true, expect.stringMatching(/^InputError: .*factor/)],
      disposed: "AbortError: The work was stopped by disposing the model.",
      missing: [true, "config.json"],
      noWorker: "Error: The worker that runs the model failed: load the model again.",
      fromStore: expected.ids,
      left: 0,
    });
  });
});
