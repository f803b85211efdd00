// What `npm pack` packs: what exports and bin name, what the program reads, and nothing else.
import { existsSync } from "node:fs";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runProgram } from "../setup/run-program.ts";
import { addCommand, type Manifest, makeProject, type Project } from "./project.ts";

/** The tarball's bound: 3.8 MB are the embedded checkpoint's weights, which do not compress. */
const MAX_PACKED_BYTES = 5.8e6;
/** What `npm install adaptvis` may put into node_modules. */
const MAX_INSTALLED_BYTES = 15e6;

/** Everything that may be in the package. Modules and declarations of dist/esm mirror src/. */
const ALLOWED: readonly RegExp[] = [
  /^(package\.json|README\.md|LICENSE|CHANGELOG\.md|SECURITY\.md)$/,
  /^dist\/(browser|deno|node|ai-sdk-deno|ai-sdk-node)\.js$/,
  /^dist\/licenses\.txt$/,
  /^dist\/esm\/(?!cli\/|bench\/|app\/)[\w/.-]+\.(js|d\.ts)$/,
  /^weights\/tiny-spatial\/[\w.-]+\.(json|safetensors|jinja|md)$/,
  /^weights\/tiny-spatial\/LICENSE-fluent-emoji$/,
  /^weights\/tiny-spatial\/demo\/[\w.-]+\.(png|jpeg|json)$/,
];

let project: Project;
let files: readonly string[];

beforeAll(async () => {
  project = await makeProject();
  const entries = await readdir(project.package, { recursive: true, withFileTypes: true });
  files = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => relative(project.package, join(parentPath, name)).split("\\").join("/"));
});

afterAll(() => project.remove());

test("nothing that a user of the package does not need", () => {
  expect(files.filter((file) => !ALLOWED.some((pattern) => pattern.test(file)))).toEqual([]);
  expect(
    files.filter((file) => /\.map$|\.wgsl$|(^|\/)(test|tools|node_modules)\/|benchmark|heat-map\.png/.test(file)),
  ).toEqual([]);
});

test("everything that the embedded model and its demo read", () => {
  const needed = ["config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json", "demo/demo.json"];
  expect(files).toEqual(expect.arrayContaining(needed.map((name) => `weights/tiny-spatial/${name}`)));
  expect(files).toEqual(
    expect.arrayContaining(["LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md", "dist/licenses.txt"]),
  );
});

test(`the tarball is at most ${MAX_PACKED_BYTES / 1e6} MB, and no file of dist more than 2.4 MB`, async () => {
  expect(project.packedBytes).toBeLessThanOrEqual(MAX_PACKED_BYTES);
  for (const file of files.filter((name) => name.startsWith("dist/"))) {
    expect((await stat(join(project.package, file))).size, file).toBeLessThan(2.4e6);
  }
});

describe("package.json", () => {
  test("a page's project gets nothing that only Node or the command needs", async () => {
    const { dependencies, optionalDependencies, peerDependencies, peerDependenciesMeta } = project.manifest;
    expect(optionalDependencies).toBeUndefined();
    for (const name of ["webgpu", "sharp", "@sparticuz/chromium", "vega", "commander", "hono"])
      expect(dependencies).not.toHaveProperty([name]);
    expect(Object.keys(peerDependencies).filter((name) => peerDependenciesMeta[name]?.optional !== true)).toEqual([]);
    const names = new Set(Object.keys(dependencies));
    let numBytes = await bytesOf(project.package);
    for (const name of names) {
      const folder = join(project.folder, "node_modules", name);
      const manifest: Partial<Manifest> = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
      for (const other of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })) names.add(other);
      numBytes += await bytesOf(folder);
    }
    expect(numBytes).toBeLessThan(MAX_INSTALLED_BYTES);
  });

  test("every path that exports, types and the CDNs' fields name is there", () => {
    const { exports, types, jsdelivr, unpkg } = project.manifest;
    const paths = [...pathsOf(exports), types, jsdelivr, unpkg];
    expect(paths.length).toBeGreaterThan(8);
    for (const path of paths) {
      const fixed = path.replace(/\*.*$/, "");
      expect(existsSync(join(project.package, fixed)), path).toBe(true);
    }
  });

  test("types come first under every condition, and each host's condition before the general one", () => {
    const root = project.manifest.exports["."] as Readonly<Record<string, Readonly<Record<string, string>>>>; // as written
    expect(Object.keys(root)).toEqual(["deno", "browser", "node", "default"]);
    for (const condition of Object.values(root)) expect(Object.keys(condition)).toEqual(["types", "default"]);
  });

  test("is free of side effects", () => {
    expect(project.manifest.sideEffects).toBe(false);
  });
});

test("no file points to a source map that is not there", async () => {
  for (const file of files.filter((name) => name.endsWith(".js"))) {
    expect(await readFile(join(project.package, file), "utf8"), file).not.toMatch(/^\/\/# sourceMappingURL=/m);
  }
});

test("modules and declarations import only what is in the package or declared", async () => {
  const { dependencies, peerDependencies } = project.manifest;
  for (const file of files.filter((name) => /^dist\/esm\/.*\.(js|d\.ts)$/.test(name))) {
    const text = await readFile(join(project.package, file), "utf8");
    const specifiers = [...text.matchAll(/^(?:import|export)\b[^"'`]*?from "([^"]+)"|\bimport\("([^"]+)"\)/gm)];
    for (const [, fixed, lazy] of specifiers) {
      const specifier = fixed ?? lazy ?? "";
      if (specifier.startsWith(".")) {
        const target = join(project.package, file, "..", specifier);
        const wanted = file.endsWith(".d.ts") ? target.replace(/\.js$/, ".d.ts") : target;
        expect(existsSync(wanted), `${file} imports ${specifier}`).toBe(true);
      } else {
        // Peers may be missing: declarations alone name them.
        const declared = Object.keys({ ...dependencies, ...(file.endsWith(".d.ts") && peerDependencies) });
        const name = declared.find((candidate) => specifier === candidate || specifier.startsWith(`${candidate}/`));
        expect(name, `${file} imports ${specifier}`).toBeDefined();
      }
    }
  }
});

test("the file for pages imports nothing, and holds the licences of what is in it", async () => {
  const browser = await readFile(join(project.package, "dist", "browser.js"), "utf8");
  expect(browser).not.toMatch(/\b(?:from|import)\s*\(?\s*["'](?:node:|@?[a-z])/);
  expect(browser).not.toMatch(/\brequire\(|\bprocess\./);
  const licences = await readFile(join(project.package, "dist", "licenses.txt"), "utf8");
  for (const name of ["@huggingface/jinja", "@huggingface/tokenizers", "pure-rand"]) {
    expect(licences).toMatch(new RegExp(`==== ${name} \\d`));
  }
  const gzipped = gzipSync(browser, { level: 9 }).length;
  expect(gzipped).toBeLessThan(241e3);
  // What a plain page fetches stands in the README.
  const readme = await readFile(join(project.package, "README.md"), "utf8");
  const stated = Number(/`adaptvis\/dist\/browser\.js` \((\d+) KB gzipped/.exec(readme)?.[1]);
  expect(Math.abs(stated - gzipped / 1e3), `${gzipped} bytes gzipped, the README says ${stated} KB`).toBeLessThan(2);
});

test.each([
  [
    "webgpu",
    "openNodeAdapter()",
    "WebGPU in Node comes from the npm package webgpu, which is not installed: run npm install webgpu.",
  ],
  [
    "sharp",
    'readImageFile("picture.png")',
    "Pictures cannot be decoded or drawn, because sharp cannot be loaded: it is not installed; run npm install sharp.",
  ],
  [
    "fonts",
    'heatMapPng({ heading: "", rows: [{ picture: { width: 1, height: 1, data: new Uint8Array(3) }, caption: "", panels: [] }] })',
    "The captions of heat maps need the npm packages opentype.js and @fontsource/dejavu-sans: run npm install opentype.js @fontsource/dejavu-sans.",
  ],
])("in Node, without %s, one sentence says what to install", async (_, call, sentence) => {
  const name = /^\w+/.exec(call)?.[0];
  const code = `import { ${name} } from "adaptvis"; ${call}.catch(({ message }) => console.log(message));`;
  await writeFile(
    join(project.folder, "picture.png"),
    await readFile(join(project.package, "weights/tiny-spatial/demo/ball_behind_robot.png")),
  );
  const args = ["--input-type=module", "--eval", code];
  const { stdout, stderr, ending } = await runProgram(process.execPath, args, { cwd: project.folder });
  expect({ stdout: stdout.trim(), stderr, ending }).toEqual({ stdout: sentence, stderr: "", ending: 0 });
});

describe("adaptvis-cli", () => {
  let manifest: Manifest;
  let program: string;

  beforeAll(async () => {
    ({ manifest, program } = await addCommand(project));
  });

  test("depends on exact versions, and on the library of its own", () => {
    const { dependencies, optionalDependencies } = manifest;
    expect(dependencies.adaptvis).toBe(project.manifest.version);
    const versions = Object.values({ ...dependencies, ...optionalDependencies });
    expect(versions.length).toBeGreaterThan(15);
    expect(versions.filter((version) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
    expect(Object.keys(manifest.bin)).toEqual(["adaptvis"]); // one name, so that npx adaptvis-cli runs it
  });

  test("has no file over 2.4 MB", async () => {
    expect((await stat(program)).size).toBeLessThan(2.4e6);
  });

  test("runs, with the embedded model of the library", async () => {
    const { stdout, ending } = await runProgram(program, ["--version"], { cwd: project.folder });
    expect({ stdout: stdout.trim(), ending }).toEqual({ stdout: project.manifest.version, ending: 0 });
    const help = await runProgram(program, ["ask", "--help"], { cwd: project.folder });
    const picture = join("node_modules", "adaptvis", "weights", "tiny-spatial", "demo");
    expect(help).toMatchObject({ ending: 0, stdout: expect.stringContaining(picture) });
  });

  test("brings the model that demo asks, and no benchmark", async () => {
    const folder = join(project.folder, "node_modules", "adaptvis-cli", "weights");
    const brought = (await readdir(folder, { recursive: true })).map((name) => name.split("\\").join("/"));
    const needed = ["config.json", "model.safetensors", "tokenizer.json", "LICENSE-fluent-emoji", "demo/demo.json"];
    expect(brought).toEqual(expect.arrayContaining(needed.map((name) => `tiny-habit/${name}`)));
    expect(brought.filter((name) => /benchmark|heat-map|tiny-spatial/.test(name))).toEqual([]);
    const { stdout, ending } = await runProgram(program, ["inspect", "tiny-habit", "--json"], { cwd: project.folder });
    expect(ending).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ model: expect.stringContaining(join("weights", "tiny-habit")) });
  });

  test("lacks the queue's packages, and says what to install", async () => {
    expect(await readFile(program, "utf8")).toMatch(/import\("bullmq"\)/);
    const args = [program, "worker", "--queue", "redis://127.0.0.1:1"];
    const { stderr, ending } = await runProgram(process.execPath, args, { cwd: project.folder });
    expect({ stderr, ending }).toEqual({
      stderr: "adaptvis: --queue needs the packages bullmq and ioredis: run npm install bullmq ioredis.\n",
      ending: 1,
    });
  });
});

function pathsOf(value: unknown): string[] {
  if (typeof value === "string") return [value];
  return value instanceof Object ? Object.values(value).flatMap(pathsOf) : [];
}

/** Bytes of a folder's files. */
async function bytesOf(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const sizes = entries
    .filter((entry) => entry.isFile())
    .map(async ({ parentPath, name }) => (await stat(join(parentPath, name))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}
