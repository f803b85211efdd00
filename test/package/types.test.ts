// The declarations as a user's compiler reads them, with every check on: also of the declaration files themselves.
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { denoExecutable } from "../deno/deno.ts";
import { repositoryRoot } from "../setup/bundle.ts";
import { runProgram } from "../setup/run-program.ts";
import { makeProject, type Project } from "./project.ts";

const tsc = join(repositoryRoot, "node_modules", "typescript", "bin", "tsc");
const examples = join(repositoryRoot, "tools", "examples");

/** What a program in any host may write; each line would be an error if a type were `any` or missing. */
const COMMON = `
import { Llava, InputError, httpSource, type Answer, type Source } from "adaptvis";
export async function use(device: GPUDevice, source: Source = httpSource("https://example.org/model/")): Promise<string> {
  using model = await Llava.load(source, { device, dtype: "q8", onProgress: ({ loadedBytes }) => loadedBytes.toFixed() });
  const image = { width: 1, height: 1, data: new Uint8Array(3) };
  const answer: Answer = await model.ask({ image, question: "What?", method: "adaptvis", attention: true });
  const share: number | undefined = answer.attention?.used().share;
  // @ts-expect-error the method is none
  await model.ask({ question: "What?", method: "nonesuch" });
  // @ts-expect-error answers have no such member
  answer.nonesuch;
  if (share === undefined) throw new InputError("no picture");
  return answer.text;
}
`;

/** What the entries beside the engine's give. */
const SDK = `
import type { LanguageModelV4 } from "@ai-sdk/provider";
import { adaptvis, type AdaptVisOptions } from "adaptvis/ai-sdk";
export const offered = (model: Llava): LanguageModelV4 => adaptvis(model, { maxNewTokens: 8 });
export const options = { method: "adaptvis", alpha1: 0.5 } satisfies AdaptVisOptions;
// @ts-expect-error a name is no model
adaptvis("tiny");
// @ts-expect-error the setting is none
export const wrong: AdaptVisOptions = { alpha3: 1 };`;

const PAGE = `${COMMON}
import { type KeptModel, openModelStore, StoreError } from "adaptvis/store";
import { type WorkerAnswer, WorkerModel } from "adaptvis/worker";
export async function inWorker(worker: Worker): Promise<string> {
  using model = await WorkerModel.load("owner/model", { worker, keep: "q4", onProgress: ({ phase }) => phase.length });
  const stream: WorkerAnswer = model.ask({ image: new Blob(), question: "What?", method: "scaling", factor: 2, attention: { layer: 1 } });
  for await (const { text } of stream) text.trim();
  const share: number | undefined = (await stream.answer).attention?.used.share;
  // @ts-expect-error interventions of one's own cannot be sent to a worker
  model.ask({ question: "What?", method: { name: "own" } });
  if (share === undefined) throw new StoreError("full", "no room");
  return model.session().messages.length.toFixed();
}
export const kept: Promise<readonly KeptModel[]> = openModelStore().list();`;

const NODE = `${COMMON}
import { fileSource, openNodeAdapter, readImageFile, requestGpuDevice } from "adaptvis";
export const { adapter } = await openNodeAdapter("swiftshader");
export const device: GPUDevice = await requestGpuDevice(adapter);
export const local: Source = fileSource("folder");
export const { width } = await readImageFile("picture.png");`;

const HOSTS = {
  "a bundler, with the DOM": {
    options: { module: "ESNext", moduleResolution: "bundler", lib: ["ES2022", "DOM", "DOM.Iterable"], types: [] },
    code: `${PAGE}
import { decodeImage } from "adaptvis";
export const pixels: Promise<{ readonly data: Uint8Array }> = decodeImage(new Uint8Array());
export const gpu: Promise<GPUAdapter | null> = navigator.gpu.requestAdapter();`,
  },
  "a bundler, in a worker": {
    options: { module: "ESNext", moduleResolution: "bundler", lib: ["ES2022", "WebWorker"], types: [] },
    code: COMMON,
  },
  "Node, nodenext, with the compiler's own defaults": {
    options: { module: "NodeNext", moduleResolution: "NodeNext", types: ["node"] },
    code: NODE,
  },
  // @ai-sdk/provider imports types of json-schema, which it does not install, so that it can be checked with skipLibCheck only.
  "the AI SDK in a page": {
    options: { module: "ESNext", moduleResolution: "bundler", lib: ["ES2022", "DOM"], types: [], skipLibCheck: true },
    code: `${COMMON}${SDK}
import { WorkerModel } from "adaptvis/worker";
export const inWorker = (model: WorkerModel): LanguageModelV4 => adaptvis(model);`,
  },
  "the AI SDK in Node": {
    options: { module: "NodeNext", moduleResolution: "NodeNext", types: ["node"], skipLibCheck: true },
    code: COMMON + SDK,
  },
  // @webgpu/types names elements of the DOM, so that only its own declarations fail without that library.
  "Node, nodenext, without the DOM library": {
    options: {
      module: "NodeNext",
      moduleResolution: "NodeNext",
      lib: ["ES2023"],
      types: ["node", "@webgpu/types"],
      skipLibCheck: true,
    },
    code: NODE,
  },
};
let project: Project;

beforeAll(async () => {
  project = await makeProject(["@types/node", "undici-types", "@ai-sdk/provider"]);
});

afterAll(() => project.remove());

async function check(folder: string, options: object): Promise<{ readonly output: string; readonly ending: unknown }> {
  const compilerOptions = { target: "ES2022", strict: true, noEmit: true, skipLibCheck: false, ...options };
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["*.ts"] }));
  const { stdout, stderr, ending } = await runProgram(process.execPath, [tsc, "-p", folder], { cwd: folder });
  return { output: stdout + stderr, ending };
}

describe("tsc with skipLibCheck off", () => {
  test.each(Object.entries(HOSTS))("%s", async (name, { options, code }) => {
    const folder = join(project.folder, name.replaceAll(/\W+/g, "-"));
    await mkdir(folder);
    await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }));
    await writeFile(join(folder, "main.ts"), code);
    expect(await check(folder, options)).toEqual({ output: "", ending: 0 });
  });

  test.each(["bundler", "worker", "store"])("the example %s, by its own settings", async (name) => {
    const folder = join(project.folder, name);
    await cp(join(examples, name), folder, { recursive: true });
    const { stdout, ending } = await runProgram(process.execPath, [tsc, "-p", folder], { cwd: folder });
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 0 });
  });
});

test("the guide's snippets for programs", async () => {
  const text = await readFile(join(repositoryRoot, "tools", "docs", "guide", "programs.md"), "utf8");
  const snippets = [...text.matchAll(/^```ts\n(.*?)^```/gms)].map(([, code = ""]) => code);
  expect(snippets.length).toBeGreaterThan(4);
  const folder = join(project.folder, "snippets");
  await mkdir(folder);
  await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }));
  await writeFile(join(folder, "ai.d.ts"), 'declare module "ai";'); // not installed here
  for (const [index, code] of snippets.entries()) {
    const closing = /^(import|export)\b/m.test(code) ? "" : "export {};";
    await writeFile(join(folder, `snippet-${index}.ts`), code + closing);
  }
  // Node has all that the library has in a page, which the snippets for pages use.
  const inNode = { module: "NodeNext", moduleResolution: "NodeNext", types: ["node"], skipLibCheck: true };
  expect(await check(folder, { ...inNode, lib: ["ES2023", "DOM", "DOM.Iterable"] })).toEqual({
    output: "",
    ending: 0,
  });
});

test("deno check", async () => {
  const folder = join(project.folder, "deno");
  await mkdir(folder);
  const code = `${COMMON}
import { fileSource } from "adaptvis";
export const local: Source = fileSource("folder");`;
  await writeFile(join(folder, "main.ts"), code);
  const { stderr, ending } = await runProgram(
    denoExecutable(),
    ["check", "--node-modules-dir=manual", "--no-remote", join(folder, "main.ts")],
    { cwd: project.folder, env: { DENO_DIR: join(project.folder, ".deno"), DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" } },
  );
  expect({ ending, errors: ending === 0 ? "" : stderr }).toEqual({ ending: 0, errors: "" });
});
