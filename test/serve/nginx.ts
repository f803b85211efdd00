// nginx with the repository's configuration, and relays as the servers behind it: they pass requests on to the one real server, or do what
// a test makes them do.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createSocketServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { root } from "../cli/command.ts";
import { runProgram } from "../setup/run-program.ts";

/** Answers a request whose body was read. */
export type RelayAnswer = (body: string, incoming: IncomingMessage, response: ServerResponse) => Promise<void> | void;

/** A server behind nginx. */
export interface Relay {
  readonly port: number;
  /** Bodies of the requests that it got. */
  readonly bodies: string[];
  /** What it does with requests; passes them on unless set. */
  answer: RelayAnswer;
  /** Ends as a killed process does. */
  kill(): Promise<void>;
}

/** Starts a relay to a server. */
export async function startRelay(url: string): Promise<Relay> {
  const bodies: string[] = [];
  const server = createServer(async (incoming, response) => {
    const body = await text(incoming);
    bodies.push(body);
    await relay.answer(body, incoming, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const relay: Relay = {
    port: (server.address() as AddressInfo).port, // it listens on a port
    bodies,
    answer: async (body, incoming, response) => {
      const answer = await passOn(url, body, incoming);
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    },
    async kill() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return relay;
}

/** Sends a relay's request to the real server, with the headers that nginx gave it. */
export async function passOn(url: string, body: string, { method, url: path, headers }: IncomingMessage) {
  const sent = request(`${url}${path}`, { method, headers, agent: false });
  sent.end(body);
  const [answer]: IncomingMessage[] = await once(sent, "response");
  if (answer === undefined) throw new Error("no answer");
  delete answer.headers["transfer-encoding"]; // of this connection, not the next
  return answer;
}

/** nginx that runs. */
export interface RunningNginx {
  readonly url: string;
  stop(): Promise<void>;
}

/** Whether nginx is installed, as the path of its program. Debian has it in a folder that is not in every PATH. */
export async function findNginx(): Promise<string | undefined> {
  for (const program of ["nginx", "/usr/sbin/nginx"]) {
    const result = await runProgram(program, ["-v"]).catch(() => undefined);
    if (result?.ending === 0) return program;
  }
  return undefined;
}

/** Runs nginx with tools/serve/nginx.conf, whose addresses are replaced. */
export async function startNginx(program: string, relays: readonly [Relay, Relay]): Promise<RunningNginx> {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), "adaptvis-nginx-"));
  let site = await readFile(join(root, "tools", "serve", "nginx.conf"), "utf8");
  for (const [from, to] of [
    ["listen 8080;", `listen 127.0.0.1:${port};`],
    ["127.0.0.1:8081", `127.0.0.1:${relays[0].port}`],
    ["127.0.0.1:8082", `127.0.0.1:${relays[1].port}`],
  ] as const) {
    if (site.split(from).length !== 2) throw new Error(`nginx.conf: expected ${from} once`);
    site = site.replace(from, to);
  }
  await writeFile(join(folder, "site.conf"), site);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${name};`);
  await writeFile(
    join(folder, "nginx.conf"),
    `daemon off; master_process off; pid pid; error_log stderr; events {}
     http { access_log off; ${temporary.join(" ")} include site.conf; }`,
  );
  // The folder first: without -e, nginx opens a log of its own where only root may write.
  const child = spawn(program, ["-p", `${folder}/`, "-c", "nginx.conf", "-e", "stderr"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (part: string) => {
    log += part;
  });
  const ended = once(child, "close");
  const url = `http://127.0.0.1:${port}`;
  const isUp = () =>
    fetch(`${url}/metrics`).then(
      ({ status }) => status === 404,
      () => false,
    );
  while (!(await isUp())) {
    if (child.exitCode !== null) throw new Error(`nginx ended: ${log}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return {
    url,
    async stop() {
      child.kill("SIGTERM");
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createSocketServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // it listens on a port
  await new Promise((resolve) => server.close(resolve));
  return port;
}
