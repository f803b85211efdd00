// What the documentation says about using the server (tools/docs/server/clients.md), and the files in tools/serve, as far as the machine has the
// programs.
import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { transform } from "esbuild";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { launchChromium } from "../browser/launch.ts";
import { adaptvis, root, tinySpatial } from "../cli/command.ts";
import { executableOf } from "../hosts/runtimes.ts";
import { runProgram } from "../setup/run-program.ts";
import { findNginx, passOn, type Relay, type RunningNginx, startNginx, startRelay } from "./nginx.ts";
import { type RunningServer, startServer } from "./server.ts";

const ADDRESS = "http://127.0.0.1:8080";
const PICTURE = join(tinySpatial, "demo", "ball_behind_robot.png");
const QUESTION = "Where is the ball in relation to the robot? Answer with left, right, front or behind.";

const documentation = readFileSync(join(root, "tools", "docs", "server", "clients.md"), "utf8");
const serveFile = (name: string) => readFileSync(join(root, "tools", "serve", name), "utf8");

let server: RunningServer;
/** For programs that need packages of the checkout, so within it. */
let folder: string;

beforeAll(async () => {
  await mkdir(join(root, "dist"), { recursive: true });
  folder = await mkdtemp(join(root, "dist", "recipes-"));
  server = await startServer("--max-per-client", "1000");
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  expect(await server.stop()).toBe(0);
});

/** A section's first code in a language, and the text behind it that the documentation says it prints. */
function recipe(title: string, language: string): { readonly code: string; readonly printed: string } {
  const [, section = ""] = documentation.split(`\n## ${title}\n`);
  const [, code] = new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, "s").exec(section) ?? [];
  const [, printed] = /```text\n(.*?)```/s.exec(section) ?? [];
  if (code?.includes(ADDRESS) !== true || printed === undefined) throw new Error(`clients.md: ${title} is incomplete`);
  return { code, printed };
}

test("the curl line that the server prints works as it is", async (context) => {
  if ((await runProgram("curl", ["--version"]).catch(() => ({ ending: 1 }))).ending !== 0)
    return context.skip("there is no curl on this machine");
  const [, line = ""] = /^ {2}(curl .*)$/m.exec(server.log()) ?? [];
  const { stdout } = await runProgram("sh", ["-c", line]);
  expect(JSON.parse(stdout)).toMatchObject({ model: "tiny-spatial", usage: { completion_tokens: 16 } });
});

describe("recipes print what the documentation says", () => {
  test("the openai package in TypeScript, which is also right by its types", async () => {
    const { code, printed } = recipe("The openai package", "ts");
    const source = join(folder, "recipe.ts");
    const program = join(folder, "recipe.mjs");
    await writeFile(source, code);
    const options = "--noEmit --ignoreConfig --strict --module nodenext --target es2024 --skipLibCheck --types node";
    const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
    expect(await runProgram(process.execPath, [tsc, ...options.split(" "), source])).toMatchObject({
      ending: 0,
      stdout: "",
    });
    const { code: javaScript } = await transform(code.replaceAll(ADDRESS, server.url), { loader: "ts", format: "esm" });
    await writeFile(program, javaScript);
    expect(await runProgram(process.execPath, [program], { cwd: root })).toMatchObject({ ending: 0, stdout: printed });
  });

  test("the openai package in Python", async (context) => {
    const python = process.env.ADAPTVIS_TEST_PYTHON ?? "python3";
    const { ending } = await runProgram(python, [
      "-c",
      "import importlib.util, sys; sys.exit(importlib.util.find_spec('openai') is None)",
    ]).catch(() => ({ ending: 1 }));
    if (ending !== 0) return context.skip("no Python with openai: set ADAPTVIS_TEST_PYTHON to one");
    const { code, printed } = recipe("The openai package", "python");
    const result = await runProgram(python, ["-c", code.replaceAll(ADDRESS, server.url)], { cwd: root });
    expect(result).toMatchObject({ ending: 0, stdout: printed });
  });

  test("the AI SDK, in the Node that it needs", async (context) => {
    const node = executableOf("node22");
    const packages = join(root, "node_modules", ".cache", "adaptvis-runtimes");
    const hasSdk = ["ai", "@ai-sdk/openai-compatible"].every((name) =>
      existsSync(join(packages, "node_modules", name)),
    );
    if (node === undefined || !hasSdk) return context.skip("npm run runtimes has not fetched Node 22 and the AI SDK");
    const { code, printed } = recipe("The AI SDK", "ts");
    const { code: program } = await transform(code.replaceAll(ADDRESS, server.url), { loader: "ts", format: "esm" });
    const file = join(packages, `recipe-${process.pid}.mjs`); // beside the packages that it imports
    try {
      await writeFile(file, program);
      expect(await runProgram(node, [file], { cwd: root })).toMatchObject({ ending: 0, stdout: printed });
    } finally {
      await rm(file, { force: true });
    }
  });
});

describe("nginx in front of two servers", () => {
  let program: string | undefined;
  let relays: readonly [Relay, Relay];
  let nginx: RunningNginx | undefined;

  beforeAll(async () => {
    program = await findNginx();
    relays = [await startRelay(server.url), await startRelay(server.url)];
    if (program !== undefined) nginx = await startNginx(program, relays);
  });

  afterAll(async () => {
    await nginx?.stop();
    for (const relay of relays) await relay.kill();
  });

  const body = (url: string, question: string) => ({
    messages: [
      {
        role: "user" as const,
        content: [
          { type: "text" as const, text: question },
          { type: "image_url" as const, image_url: { detail: "low" as const, url } },
        ],
      },
    ],
  });
  const post = (asked: object, headers: Readonly<Record<string, string>> = {}) =>
    fetch(`${nginx?.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(asked),
    });
  const named = (name: string) => `data:image/png;base64,${"A".repeat(20_000)}${name}`;

  test("affinity, streams, and what happens when a server fails", async (context) => {
    if (nginx === undefined) return context.skip("there is no nginx on this machine");
    const [first, second] = relays;
    const [passes] = relays.map(({ answer }) => answer);
    const sayWho = () => {
      for (const [index, relay] of relays.entries()) relay.answer = (_, __, response) => void response.end(`${index}`);
    };
    const whoAnswers = async (asked: object, headers?: Readonly<Record<string, string>>) =>
      (await post(asked, headers)).text();

    // Pictures that begin alike, behind a text: each has its server, whatever is asked.
    sayWho();
    const names = Array.from({ length: 40 }, (_, index) => String(index));
    const eachOf = async (ask: (name: string) => Promise<string>) => {
      const said: string[] = [];
      for (const name of names) said.push(await ask(name)); // nginx takes 16 requests of one client at once
      return said;
    };
    const owners = await eachOf((name) => whoAnswers(body(named(name), "Where?")));
    expect(new Set(owners)).toEqual(new Set(["0", "1"]));
    expect(await eachOf((name) => whoAnswers(body(named(name), 'What is "it"?')))).toEqual(owners);
    const byHeader = await eachOf((name) => whoAnswers(body(named(name), "Where?"), { "x-picture-hash": "one" }));
    expect(new Set(byHeader).size).toBe(1);
    const withoutPicture = await eachOf((content) => whoAnswers({ messages: [{ role: "user", content }] }));
    expect(new Set(withoutPicture)).toEqual(new Set(["0", "1"]));
    const picture = named(names[owners.indexOf("0")] ?? "");
    const askFirst = () => post(body(picture, "Where?"));

    // What a server answers reaches the client; a request that was sent is not sent again.
    first.answer = (_, __, response) => void response.writeHead(429, { "retry-after": "7" }).end();
    const full = await askFirst();
    expect([full.status, full.headers.get("retry-after")]).toEqual([429, "7"]);
    let answerAll = () => {};
    const many = new Promise<void>((resolve) => {
      answerAll = resolve;
    });
    first.answer = (_, __, response) => void many.then(() => response.end());
    const asking = Array.from({ length: 17 }, askFirst);
    const refused = await Promise.race(asking);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "1"]);
    expect(await refused.json()).toMatchObject({ error: { type: "rate_limit_error" } });
    answerAll();
    expect((await Promise.all(asking)).filter(({ status }) => status === 200)).toHaveLength(16);
    const numBefore = second.bodies.length;
    first.answer = (_, __, response) => void response.destroy();
    const broken = await askFirst();
    expect([broken.status, await broken.json()]).toEqual([
      502,
      { error: expect.objectContaining({ type: "server_error" }) },
    ]);
    expect(second.bodies.length).toBe(numBefore);

    // An event of a stream arrives while the server has not sent the next.
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    for (const relay of relays) {
      relay.answer = async (sent, incoming, response) => {
        const answer = await passOn(server.url, sent, incoming);
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        const [event, ...events] = (await text(answer)).split(/(?<=\n\n)/);
        response.write(event);
        await held;
        for (const later of events) response.write(later);
        response.end();
      };
    }
    const client = new OpenAI({ baseURL: `${nginx.url}/v1`, apiKey: "none", maxRetries: 0 });
    const url = `data:image/png;base64,${readFileSync(PICTURE, "base64")}`;
    const stream = await client.chat.completions.create({ ...body(url, QUESTION), model: "", stream: true });
    let answered = "";
    for await (const { choices } of stream) {
      release();
      answered += choices[0]?.delta.content ?? "";
    }
    expect(answered).toBe("Left");

    // A page of the proxy's own address may ask; the server compares it with the name that nginx passes on.
    for (const relay of relays) if (passes !== undefined) relay.answer = passes;
    const asked = await post({ messages: [{ role: "user", content: "Hello" }], max_tokens: 1 }, { origin: nginx.url });
    expect({ status: asked.status, text: await asked.text() }).toMatchObject({ status: 200 });
    const foreign = await post({ messages: [{ role: "user", content: "Hello" }] }, { origin: "http://evil.example" });
    expect(foreign.status).toBe(403);

    // A server that is gone: the other one has its pictures.
    sayWho();
    await first.kill();
    for (const name of names) expect(await whoAnswers(body(named(name), "Where?"))).toBe("1");
  });
});

test("systemd accepts the unit", async (context) => {
  const { ending } = await runProgram("systemd-analyze", ["--version"]).catch(() => ({ ending: 1 }));
  if (ending !== 0) return context.skip("there is no systemd-analyze on this machine");
  const units = await mkdtemp(join(tmpdir(), "adaptvis-units-"));
  const unit = join(units, "adaptvis@.service");
  await writeFile(unit, serveFile("adaptvis@.service").replace("/usr/local/bin/adaptvis", process.execPath));
  // Unknown names are warnings, with exit code 0.
  const result = await runProgram("systemd-analyze", ["verify", "--man=no", unit]);
  expect(result).toMatchObject({ ending: 0, stderr: "" });
  await rm(units, { recursive: true });
});

test("unit, image and documentation give the server only options that it has", async () => {
  const { stdout: help } = await adaptvis("serve", "--help");
  const lines = [serveFile("adaptvis@.service"), serveFile("Containerfile"), documentation]
    .join("\n")
    .split("\n")
    .filter((line) => /^ExecStart=|^ENTRYPOINT|^adaptvis serve|adaptvis -- serve/.test(line));
  const options = lines.flatMap((line) => line.match(/--[a-z][a-z-]*/g) ?? []);
  expect(lines.length).toBeGreaterThanOrEqual(5);
  for (const option of options) expect(help).toContain(`${option} `);
  const [, drain] = /--drain <seconds>.*\(default:\s+(\d+)\)/s.exec(help) ?? [];
  const [, timeout] = /^TimeoutStopSec=(\d+)$/m.exec(serveFile("adaptvis@.service")) ?? [];
  expect(Number(timeout)).toBeGreaterThan(Number(drain) + 5);
});

test("the task of lmms-eval and the TSV for VLMEvalKit have the questions, and judge as the paper's authors do", async (context) => {
  const [data = ""] = /\S+\.jsonl/.exec(serveFile("lmms-eval/controlled_b.yaml")) ?? [];
  const questions = readFileSync(join(root, data), "utf8").trim().split("\n");
  const { ending } = await runProgram("python3", ["--version"]).catch(() => ({ ending: 1 }));
  if (ending !== 0) return context.skip("there is no Python on this machine");
  const script = `
import utils
doc = lambda answer: {"id": 3, "answer": [answer]}
cases = [("Behind", " Behind the robot."), ("Front", "Left"), ("On", "In front")]
print(utils.picture(doc("Left")).is_file(), [utils.process_results(doc(gold), [text])["accuracy"] for gold, text in cases])
`;
  const path = { PYTHONPATH: join(root, "tools", "serve", "lmms-eval"), PYTHONDONTWRITEBYTECODE: "1" };
  const result = await runProgram("python3", ["-c", script], { cwd: root, env: path });
  expect(result).toMatchObject({ ending: 0, stdout: "True [1.0, 0.0, 0.0]\n" });
  const table = join(folder, "controlled_b.tsv");
  const program = join(root, "tools", "serve", "vlmevalkit", "controlled_b_tsv.py");
  expect(await runProgram("python3", [program, table], { cwd: root })).toMatchObject({ ending: 0, stderr: "" });
  const [head = "", ...rows] = readFileSync(table, "utf8").trim().split("\r\n");
  expect(head.split("\t")).toEqual(["index", "question", "A", "B", "C", "D", "answer", "image"]);
  expect(rows.length).toBe(questions.length);
  for (const [index, row] of rows.entries()) {
    const [id, question, ...cells] = row.split("\t");
    const asked = JSON.parse(questions[index] ?? "");
    expect([Number(id), question, cells["ABCD".indexOf(cells[4] ?? "")]]).toEqual([
      asked.id,
      asked.question,
      asked.answer[0],
    ]);
    expect(cells[5]).toMatch(/^\/9j\//); // a JPEG
  }
});

test("the page at / answers, shows where the model looked, and fits a phone", async (context) => {
  const browser = await launchChromium().catch(() => undefined);
  if (browser === undefined) return context.skip("there is no packaged Chromium on this machine");
  try {
    const page = await browser.newPage({ viewport: { width: 390, height: 800 } });
    const printed: string[] = [];
    page.on("console", (message) => printed.push(message.text()));
    page.on("pageerror", (error) => printed.push(String(error)));
    await page.goto(server.url);
    await page.getByLabel("Picture").setInputFiles(PICTURE);
    await page.getByLabel("Question").fill(QUESTION);
    await page.getByRole("button", { name: "Ask" }).click();
    await page.getByRole("img", { name: "The picture, and where the model looked" }).waitFor();
    expect(await page.getByRole("status").textContent()).toBe("Behind\n\nadaptvis: confidence 0.56, factor 0.5");
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(390);
    await page.getByLabel("Intervention").fill("none such");
    await page.getByRole("button", { name: "Ask" }).click();
    await page.getByText("method must be one of").waitFor();
    expect(await page.getByRole("button", { name: "Ask" }).isEnabled()).toBe(true);
    expect(printed.filter((line) => !line.includes("status of 400"))).toEqual([]);
  } finally {
    await browser.close();
  }
});
