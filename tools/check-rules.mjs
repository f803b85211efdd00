// The repository's rules that no other tool checks. Each rule is a function from the list of files to a list of problems.
//   node tools/check-rules.mjs      prints one line per problem; exit code 1 when there is one

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const mebibyte = 2 ** 20;

const topLevel = new Set(
  "package.json package-lock.json src shaders weights test tools tsconfig.json README.md LICENSE CHANGELOG.md CONTRIBUTING.md SECURITY.md".split(
    " ",
  ),
);

/** From the bottom up: a file imports from its own layer or those before it. The first matching pattern decides. */
const layers = [
  { name: "errors, options", pattern: /^src\/((errors|options)\.ts|.*\.d\.ts)$/ },
  { name: "shaders", pattern: /^shaders\// },
  { name: "gpu", pattern: /^src\/gpu\/(?!ops\/)/ },
  { name: "gpu/ops", pattern: /^src\/gpu\/ops\// },
  { name: "checkpoint", pattern: /^src\/checkpoint\// },
  { name: "preprocess", pattern: /^src\/preprocess\// },
  { name: "models", pattern: /^src\/models\// },
  { name: "store", pattern: /^src\/store\// },
  { name: "generate", pattern: /^src\/generate\// },
  { name: "inspect", pattern: /^src\/inspect\// },
  { name: "interventions", pattern: /^src\/interventions\// },
  { name: "causal", pattern: /^src\/causal\// },
  { name: "llava, session", pattern: /^src\/(?!index)[^/]+$/ },
  { name: "bench", pattern: /^src\/bench\// },
  { name: "isa", pattern: /^src\/isa\// },
  {
    name: "index, worker, ai-sdk, evaluate, serve, cli, app",
    pattern: /^src\/(index|worker\/|ai-sdk\/|evaluate\/|serve\/|cli\/|app\/)/,
  },
];

const headerWords = ["Formula", "Shapes", "Work division", "Grid", "Error bound", "Source"];

const files = listFiles();
const rules = [
  allowedTopLevel,
  fileNames,
  coreWithoutHost,
  importsOneWay,
  kernelsComplete,
  leftovers,
  skipsWithReason,
  noConsole,
  sizes,
  lockComplete,
];
const problems = rules.flatMap((rule) => rule());
for (const problem of problems) process.stdout.write(`${problem}\n`);
process.stderr.write(`check-rules: ${files.length} files, ${problems.length} problems\n`);
process.exitCode = problems.length === 0 ? 0 : 1;

/** Every file that is or could be committed. */
function listFiles() {
  const git = spawnSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 64 * mebibyte,
  });
  if (git.status !== 0) throw new Error(`git ls-files: ${git.stderr || git.error}`);
  const names = new Set(git.stdout.split("\0").filter((name) => name !== "" && existsSync(join(root, name))));
  return [...names].sort();
}

function allowedTopLevel() {
  const names = new Set(files.map((file) => file.split("/")[0]));
  return [...names]
    .filter((name) => !name.startsWith(".") && !topLevel.has(name))
    .map((name) => `${name}: not among the names allowed at the top level`);
}

function fileNames() {
  const code = /\.(ts|tsx|mjs|js|wgsl|html|css)$/;
  const kebab = /^[a-z0-9]+(-[a-z0-9]+)*(\.(node|browser|deno|test|config|d))*\.\w+$/;
  const snake = /^_?_?[a-z0-9]+(_[a-z0-9]+)*(__)?\.py$/;
  return files
    .filter((file) => {
      const name = posix.basename(file);
      return (code.test(name) && !kebab.test(name)) || (name.endsWith(".py") && !snake.test(name));
    })
    .map((file) => `${file}: names are kebab-case (Python's snake_case)`);
}

/** The core runs anywhere: no Node module, no file that is one host's. */
function coreWithoutHost() {
  const isHost = (file) => /^src\/(cli|app)\//.test(file) || /\.(node|browser|deno)\.ts$/.test(file);
  return sources("src/")
    .filter((file) => !isHost(file))
    .flatMap((file) =>
      importsOf(file)
        .filter((target) => target.startsWith("node:") || isHost(target))
        .map((target) => `${file}: the core imports ${target}`),
    );
}

function importsOneWay() {
  const layerOf = (file) => layers.findIndex(({ pattern }) => pattern.test(file));
  return sources("src/").flatMap((file) =>
    importsOf(file)
      .filter((target) => layerOf(target) > layerOf(file))
      .map((target) => `${file}: ${layers[layerOf(file)].name} imports ${target}, of ${layers[layerOf(target)].name}`),
  );
}

/**
 * Same name everywhere: the kernel, its CPU twin (or, of a variant, that of the kernel its formula names), its test; and the
 * header says what a reader needs, in this order.
 */
function kernelsComplete() {
  const problems = [];
  for (const file of files.filter((name) => /^shaders\/[^/]+\.wgsl$/.test(name))) {
    const name = posix.basename(file, ".wgsl");
    const header = /^(\s*\/\/.*\n|\s*\n)*/.exec(read(file))[0];
    const [, other] = /^\/\/ Formula: as ([a-z-]+)/m.exec(header) ?? [];
    const twins = [name, other].map((kernel) => `test/reference/${kernel}.ts`);
    if (!twins.some((twin) => files.includes(twin))) problems.push(`${file}: ${twins[0]} is missing`);
    if (!files.includes(`test/kernels/${name}.test.ts`))
      problems.push(`${file}: test/kernels/${name}.test.ts is missing`);
    const words = [...header.matchAll(/^\/\/ ([A-Z][\w ]*):/gm)].map(([, word]) => word);
    if (words.join() !== headerWords.join()) {
      problems.push(`${file}: the header must have ${headerWords.join(", ")}, got ${words.join(", ")}`);
    }
  }
  return problems;
}

function leftovers() {
  return textLines(/\.(ts|tsx|mjs|wgsl|py|sh|md|json|jsonc|html|css)$/)
    .filter(({ file, line }) => /\b(TODO|FIXME)\b/.test(line) || (/\.test\.ts$/.test(file) && /\.only\(/.test(line)))
    .map(({ file, lineNumber, line }) => `${file}:${lineNumber}: left over: ${line.trim()}`);
}

/** `context.skip("why")` inside a test; `test.skip`, `skipIf`, `runIf` and `todo` with a comment "reason: …" on or above the line. */
function skipsWithReason() {
  return textLines(/^test\/.*\.ts$/)
    .filter(({ line, before }) => {
      if (/\b(test|it|describe|suite)\b[.\w]*\.(skip|skipIf|runIf|todo)\(/.test(line)) {
        return !/\/\/.*reason: \S/.test(before + line);
      }
      return /\bskip\(/.test(line) && !/["'`][^"'`]* [^"'`]*["'`]/.test(line);
    })
    .map(({ file, lineNumber }) => `${file}:${lineNumber}: skipped without a reason`);
}

function noConsole() {
  return textLines(/^src\/(?!cli\/).*\.tsx?$/)
    .filter(({ line }) => /\bconsole\.\w+\(/.test(line))
    .map(({ file, lineNumber }) => `${file}:${lineNumber}: the console is the command line's`);
}

function sizes() {
  const bytesOf = (file) => statSync(join(root, file)).size;
  const problems = files
    .filter((file) => !/^(weights|test\/golden)\//.test(file) && bytesOf(file) > mebibyte)
    .map((file) => `${file}: larger than 1 MiB`);
  const weights = files.filter((file) => file.startsWith("weights/")).reduce((sum, file) => sum + bytesOf(file), 0);
  if (weights >= 16 * mebibyte) problems.push(`weights/: ${weights} bytes, 16 MiB or more`);
  return problems;
}

/**
 * npm leaves packages for other platforms out of the lock when the registry lacks them at that moment, and then `npm ci` refuses
 * the lock on every machine; a version whose platform packages are all published has to be chosen.
 */
function lockComplete() {
  const { packages } = JSON.parse(read("package-lock.json"));
  const locked = new Set(Object.keys(packages).map((path) => path.split("node_modules/").at(-1)));
  return Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies)
      .filter((name) => !locked.has(name))
      .map((name) => `package-lock.json: ${path} names ${name}, which is not in the lock: npm ci would fail`),
  );
}

function sources(folder) {
  return files.filter((file) => file.startsWith(folder) && /\.tsx?$/.test(file));
}

/** What a file imports: paths from the root for its own files, names as they stand for the rest. */
function importsOf(file) {
  const specifiers = read(file).matchAll(/\b(?:from|import)\s*\(?\s*["']([^"'\n]+)["']/g);
  return [...specifiers].map(([, specifier]) =>
    specifier.startsWith(".") ? posix.join(posix.dirname(file), specifier) : specifier,
  );
}

/** The lines of the files whose path matches, each with the line before it; this file, which names what it looks for, is left out. */
function textLines(pattern) {
  return files
    .filter((file) => pattern.test(file) && !/^weights\//.test(file) && file !== "tools/check-rules.mjs")
    .flatMap((file) => {
      const lines = read(file).split("\n");
      return lines.map((line, index) => ({ file, line, lineNumber: index + 1, before: `${lines[index - 1] ?? ""}\n` }));
    });
}

function read(file) {
  return readFileSync(join(root, file), "utf8");
}
