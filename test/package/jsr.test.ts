// dist/jsr as `deno publish` would take it, and as Deno runs it: everything but the upload.
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { driverEnvironment, fileSource, Llava, openNodeAdapter, requestGpuDevice } from "../../src/index.node.ts";
import { denoExecutable } from "../deno/deno.ts";
import { repositoryRoot } from "../setup/bundle.ts";
import { softwareAdapter } from "../setup/device.ts";
import { type ProgramResult, runProgram } from "../setup/run-program.ts";
import { packed } from "./packed.ts";
import { type Registry, startRegistry } from "./registry.ts";

interface JsrManifest {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly exports: Readonly<Record<string, string>>;
}

let registry: Registry;
let scratch: string;
let folder: string;
let manifest: JsrManifest;
/** npm packages that the modules import, with their ranges. */
let imported: ReadonlyMap<string, string>;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "adaptvis-jsr-"));
  folder = join(scratch, "package");
  await cp((await packed()).jsr, folder, { recursive: true });
  manifest = JSON.parse(await readFile(join(folder, "jsr.json"), "utf8")) as JsrManifest; // ours
  imported = await importedPackages();
  registry = await startRegistry([...imported.keys()]);
});

afterAll(async () => {
  registry?.close();
  await rm(scratch, { recursive: true, force: true });
});

async function importedPackages(): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const file of (await readdir(folder, { recursive: true })).filter((name) => name.endsWith(".js"))) {
    const text = await readFile(join(folder, file), "utf8");
    for (const [, name, range] of text.matchAll(/"npm:((?:@[^/]+\/)?[^@/]+)@([^/"]+)/g))
      found.set(`${name}`, `${range}`);
  }
  return found;
}

async function deno(...args: readonly string[]): Promise<ProgramResult> {
  const variables = {
    ...(await driverEnvironment("swiftshader")),
    NPM_CONFIG_REGISTRY: registry.url,
    DENO_DIR: join(scratch, "deno"),
    DENO_NO_UPDATE_CHECK: "1",
    NO_COLOR: "1",
  };
  return runProgram(denoExecutable(), args, { cwd: folder, env: variables });
}

test("jsr.json has package.json's version and licence, and its modules name package.json's ranges", async () => {
  const { version, license, dependencies, devDependencies } = JSON.parse(
    await readFile(join(repositoryRoot, "package.json"), "utf8"),
  );
  expect(manifest).toMatchObject({ name: "@adaptvis/adaptvis", version, license });
  expect([...imported.keys()].sort()).toEqual(["@huggingface/jinja", "@huggingface/tokenizers", "pure-rand", "sharp"]);
  for (const [name, range] of imported) expect(range, name).toBe({ ...devDependencies, ...dependencies }[name]);
});

test("deno publish --dry-run finds nothing to object to", async () => {
  const { stderr, ending } = await deno("publish", "--dry-run", "--allow-dirty");
  expect({ ending, errors: ending === 0 ? "" : stderr }).toEqual({ ending: 0, errors: "" });
  expect(stderr).toContain(`Simulating publish of @adaptvis/adaptvis@${manifest.version}`);
  expect(stderr).not.toMatch(/warning/i);
});

test("every entry has types, and nothing is left in TypeScript or WGSL", async () => {
  const files = await readdir(folder, { recursive: true });
  expect(files.filter((file) => /\.wgsl$|\.ts$(?<!\.d\.ts)|\.map$/.test(file))).toEqual([]);
  for (const path of Object.values(manifest.exports)) {
    const text = await readFile(join(folder, path), "utf8");
    expect(text).toMatch(/^\/\* @ts-self-types="\.\/index[.\w]*\.d\.ts" \*\/\n/);
  }
});

test("its modules load the embedded checkpoint in Deno, checked by Deno's compiler", async () => {
  const model = join(repositoryRoot, "weights", "tiny-spatial");
  const program = `
    import { fileSource, Llava, requestGpuDevice } from "./index.deno.js";
    const adapter = await navigator.gpu.requestAdapter();
    if (adapter === null) throw new Error("no adapter");
    using model: Llava = await Llava.load(fileSource(Deno.args[0] ?? ""), { device: await requestGpuDevice(adapter) });
    const image = { width: 224, height: 224, data: new Uint8Array(224 * 224 * 3) };
    const answer = await model.ask({ image, question: "Where is the mug?", maxNewTokens: 3, ignoreEos: true });
    console.log(JSON.stringify(answer.tokens.map(({ tokenId }) => tokenId)));`;
  await writeFile(join(folder, "program.ts"), program);
  const { stdout, stderr, ending } = await deno("run", "-A", "--check", "program.ts", model);
  expect({ ending, errors: ending === 0 ? "" : stderr }).toEqual({ ending: 0, errors: "" });
  const { adapter } = await openNodeAdapter(softwareAdapter());
  using loaded = await Llava.load(fileSource(model), { device: await requestGpuDevice(adapter) });
  const image = { width: 224, height: 224, data: new Uint8Array(224 * 224 * 3) };
  const expected = await loaded.ask({ image, question: "Where is the mug?", maxNewTokens: 3, ignoreEos: true });
  expect(JSON.parse(stdout)).toEqual(expected.tokens.map(({ tokenId }) => tokenId));
});
