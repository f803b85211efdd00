// Every command and snippet of the site's pages: commands parse, and run against the embedded checkpoint unless the page says why
// not; programs type-check against the package's own types, and run.
import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { transform } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { root } from "../cli/command.ts";
import { startServer } from "../serve/server.ts";
import { adapterOfEnvironment } from "../setup/device.ts";
import { runProgram } from "../setup/run-program.ts";
import { parseArguments, readShell } from "./command-line.ts";
import { pages, type Snippet, snippets } from "./pages.ts";

const all = snippets();
const shell = all.filter(({ language }) => language === "sh");
const programs = all.filter(({ language }) => language === "ts");
const python = all.filter(({ language, mode }) => language === "python" && mode === "run");
const whereOf = ({ page, line }: Snippet) => `${page}:${line}`;
const interpreter = process.env.ADAPTVIS_TEST_PYTHON ?? "python3";

/** Where the commands run: a folder that has the checkout's files and keeps what they write. */
let folder: string;
/** Where the programs are, so that "adaptvis" is this package. */
let programFolder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "adaptvis-docs-"));
  for (const name of ["weights", "tools", "test", "README.md"]) await symlink(join(root, name), join(folder, name));
  await mkdir(join(root, "dist"), { recursive: true });
  programFolder = await mkdtemp(join(root, "dist", "snippets-"));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await rm(programFolder, { recursive: true, force: true });
});

test("every block of code has a language that is tested, or is data", () => {
  const known = ["sh", "ts", "python", "text", "json", "yaml", "nginx", "wgsl"];
  expect(all.filter(({ language }) => !known.includes(language)).map(whereOf)).toEqual([]);
  expect(all.filter(({ mode, reason }) => mode === "tested by" && !existsSync(join(root, reason)))).toEqual([]);
  for (const { language, code } of all) if (language === "json") JSON.parse(code);
  for (const { continues } of all) if (continues !== undefined) expect(pages).toContain(continues);
});

test.each(shell.map((snippet) => [whereOf(snippet), snippet] as const))(
  "%s: what it calls is there",
  async (_, { code, mode }) => {
    const { adaptvis, scripts, others } = await readShell(code);
    for (const args of adaptvis) await parseArguments(args);
    const known = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).scripts;
    expect(scripts.filter((script) => known[script] === undefined)).toEqual([]);
    // What other programs do is not ours to test: the page has to say why it is left out.
    if (mode === "run") expect(others).toEqual([]);
  },
);

test("a wrong flag, a missing value and a wrong command are noticed", async () => {
  for (const args of [["ask", "--colour", "red", "why?"], ["sweep", "--factors"], ["answer"], ["lens", "--at"]])
    await expect(parseArguments(args), args.join(" ")).rejects.toThrow(/adaptvis /);
  await expect(readShell("if true; then")).rejects.toThrow(/not valid for sh/);
  expect(await readShell("curl example && npm run -s adaptvis -- ask 'a b' # c")).toMatchObject({ others: ["curl"] });
});

test("commands run", async () => {
  const seen = new Set<string>();
  for (const snippet of shell.filter(({ mode }) => mode === "run")) {
    for (const args of (await readShell(snippet.code)).adaptvis) {
      const line = args.join(" ");
      if (seen.has(line)) continue;
      seen.add(line);
      const program = [join(root, "dist", "cli.js"), "--adapter", adapterOfEnvironment(), ...args];
      const { ending, stderr } = await runProgram(process.execPath, program, { cwd: folder });
      expect(ending, `${whereOf(snippet)}: ${line}\n${stderr}`).toBe(0);
    }
  }
  expect(seen.size).toBeGreaterThan(10);
}, 600_000);

describe("programs", () => {
  /** Blocks that follow each other on a page are one program. */
  const byPage = pages
    .map((page) => [page, programs.filter((snippet) => snippet.page === page && snippet.mode !== "tested by")] as const)
    .filter(([, blocks]) => blocks.length > 0);
  const before = (page: string | undefined) =>
    programs.filter((snippet) => snippet.page === page && snippet.mode === "run").map(({ code }) => code);
  const textOf = (blocks: readonly Snippet[]) =>
    [...before(blocks[0]?.continues), ...blocks.map(({ code }) => code), "export {};"].join("\n");
  const fileOf = (page: string) => page.replaceAll("/", "-").replace(/\.md$/, "");

  test("have the types that the package declares", async () => {
    const files = byPage.map(([page]) => `${fileOf(page)}.ts`);
    for (const [index, [, blocks]] of byPage.entries())
      await writeFile(join(programFolder, files[index] ?? ""), textOf(blocks));
    const modules = JSON.stringify(join(root, "tools", "package", "modules.mjs"));
    const emit = `import { emitModules } from ${modules};
      emitModules(process.argv[1], ["index.node.ts"], { declarationsOnly: true });`;
    const types = join(programFolder, "types");
    const emitted = await runProgram(process.execPath, ["--input-type=module", "--eval", emit, types], { cwd: root });
    expect(emitted.ending, emitted.stderr).toBe(0);
    const compilerOptions = {
      noEmit: true,
      strict: true,
      module: "nodenext",
      target: "es2024",
      lib: ["es2024", "dom", "dom.iterable", "dom.asynciterable", "esnext.disposable"],
      skipLibCheck: true,
      types: ["node"],
      paths: { adaptvis: ["./types/index.node.d.ts"] },
    };
    await writeFile(join(programFolder, "tsconfig.json"), JSON.stringify({ compilerOptions, files }));
    const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
    const { stdout } = await runProgram(process.execPath, [tsc, "-p", programFolder], { cwd: root });
    expect(stdout).toBe("");
  });

  test("run, all in one process", async () => {
    const imports: string[] = [];
    for (const [page, blocks] of byPage) {
      const run = blocks.filter(({ mode }) => mode === "run");
      if (run.length === 0) continue;
      const { code } = await transform(textOf(run), { loader: "ts", format: "esm" });
      await writeFile(join(programFolder, `${fileOf(page)}.mjs`), code);
      imports.push(`await import(${JSON.stringify(join(programFolder, `${fileOf(page)}.mjs`))});`);
    }
    const main = join(programFolder, "main.mjs");
    await writeFile(main, `${imports.join("\n")}\nprocess.exit(0);\n`);
    const { ending, stderr } = await runProgram(process.execPath, [main], { cwd: folder });
    expect(ending, stderr).toBe(0);
    expect(imports.length).toBeGreaterThan(3);
  });
});

describe("Python", () => {
  const has = async (name: string) =>
    (await runProgram(interpreter, ["-c", `import ${name}`]).catch(() => ({ ending: 1 }))).ending === 0;

  test("programs without the server run on the files that the commands before them wrote", async (context) => {
    if (!(await has("numpy"))) return context.skip("no Python with numpy: set ADAPTVIS_TEST_PYTHON to one");
    for (const snippet of python.filter(({ code }) => !code.includes("openai"))) {
      const { ending, stdout, stderr } = await runProgram(interpreter, ["-c", snippet.code], { cwd: folder });
      expect(ending, `${whereOf(snippet)}: ${stderr}`).toBe(0);
      expect(stdout).not.toBe("");
    }
  });

  test("the program that asks the server gets AdaptVis' answer", async (context) => {
    if (!(await has("openai"))) return context.skip("no Python with openai: set ADAPTVIS_TEST_PYTHON to one");
    const server = await startServer();
    for (const { code } of python.filter((snippet) => snippet.code.includes("openai"))) {
      const program = code.replaceAll("http://127.0.0.1:8080", server.url);
      expect(await runProgram(interpreter, ["-c", program], { cwd: folder })).toMatchObject({ stdout: "Behind\n" });
    }
    expect(await server.stop()).toBe(0);
  });
});
