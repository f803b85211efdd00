// The declarations as a user's compiler reads them, with every check on: also of the declaration files themselves.
import { cp, mkdir, writeFile } from "node:fs/promises";
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

const NODE = `${COMMON}
import { fileSource, openNodeAdapter, readImageFile, requestGpuDevice } from "adaptvis";
export const { adapter } = await openNodeAdapter("swiftshader");
export const device: GPUDevice = await requestGpuDevice(adapter);
export const local: Source = fileSource("folder");
export const { width } = await readImageFile("picture.png");`;

const HOSTS = {
  "a bundler, with the DOM": {
    options: { module: "ESNext", moduleResolution: "bundler", lib: ["ES2022", "DOM", "DOM.Iterable"], types: [] },
    code: `${COMMON}
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
  project = await makeProject(["@types/node", "undici-types"]);
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

  test.each(["bundler", "worker"])("the example %s, by its own settings", async (name) => {
    const folder = join(project.folder, name);
    await cp(join(examples, name), folder, { recursive: true });
    const { stdout, ending } = await runProgram(process.execPath, [tsc, "-p", folder], { cwd: folder });
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 0 });
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
