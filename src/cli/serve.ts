// adaptvis serve: an OpenAI-compatible server. It loads one model and answers until it is stopped.
import { randomUUID } from "node:crypto";
import { basename } from "node:path";
import type { Command } from "commander";
import { InvalidArgumentError } from "commander";
import { isHubId } from "../checkpoint/hub/hub-id.ts";
import { reasonOf } from "../errors.ts";
import { isDeno } from "../gpu/hosts/adapter.deno.ts";
import type { AttentionMap } from "../inspect/attention-map.ts";
import { drawHeatMap } from "../inspect/heat-map.ts";
import { decodeImage } from "../preprocess/decode-image.node.ts";
import type { RgbImage } from "../preprocess/image.ts";
import { loadSharp } from "../preprocess/sharp.node.ts";
import type { AppOptions, LogLine } from "../serve/app.ts";
import type { ListeningServer } from "../serve/listen.node.ts";
import { wholeFrom } from "./checks.ts";
import { byteCount } from "./fit-memory.ts";
import { addModelOptions, MODEL_HELP, type ModelFlags } from "./flags.ts";
import { openModel } from "./open-model.ts";
import { examples } from "./package-files.ts";
import { defineCommand, type Session, UsageError } from "./session.ts";

/** Parsed options of `serve`. */
interface ServeFlags extends ModelFlags {
  readonly host: string;
  readonly port: number;
  readonly apiKey?: string;
  readonly name?: string;
  readonly maxTokens: number;
  readonly maxRunning: number;
  readonly maxWaiting: number;
  readonly maxPerClient: number;
  readonly timeout: number;
  readonly maxBody: number;
  readonly maxPixels: number;
  readonly maxPictures: number;
  readonly drain: number;
  readonly allowHosts?: readonly string[];
  readonly allowOrigins?: readonly string[];
  readonly allowImageHosts?: readonly string[];
  readonly logPrompts?: boolean;
}

/** `adaptvis serve`. */
export const serveCommand = defineCommand("serve", describeServe, serve);

/** Describes `serve` to commander. */
function describeServe(command: Command): Command {
  command.description(
    "Serve a model in OpenAI's protocol (chat completions, streams, pictures), with fields to steer and to look into answers.",
  );
  return addModelOptions(command, MODEL_HELP)
    .option("--host <address>", "address to listen on; other than this machine's own only with --api-key", "127.0.0.1")
    .option("--port <number>", "port; 0 takes a free one", wholeFrom(0, 65_535), 8080)
    .option("--api-key <key>", "key that clients must send (default: ADAPTVIS_API_KEY of the environment, else none)")
    .option("--name <id>", "the model's id in the protocol (default: its id on the hub, or its folder's name)")
    .option("--max-tokens <number>", "most new tokens of an answer", wholeFrom(1), 512)
    .option("--max-running <number>", "answers that run at once, 16 of them in one batch", wholeFrom(1), 16)
    .option("--max-waiting <number>", "requests that may wait; more get status 429", wholeFrom(0), 32)
    .option("--max-per-client <number>", "requests of one client, running and waiting", wholeFrom(1), 16)
    .option("--timeout <seconds>", "time for an answer, waiting included", wholeFrom(1), 300)
    .option("--max-body <size>", "largest body of a request (default: 32MiB)", byteCount, 2 ** 25)
    .option("--max-pixels <number>", "most pixels of a picture as it is sent", wholeFrom(1), 25_000_000)
    .option("--max-pictures <number>", "most pictures of a request", wholeFrom(0), 8)
    .option("--drain <seconds>", "time for running answers after SIGTERM or Ctrl-C", wholeFrom(0), 30)
    .option("--allow-hosts <names>", "further names of this server in the Host header, separated by commas", names)
    .option("--allow-origins <origins>", "origins of pages that may use it, such as https://app.example.org", names)
    .option("--allow-image-hosts <names>", "hosts that pictures may be fetched from (default: none)", names)
    .option("--log-prompts", "write the messages of requests into the log, too")
    .addHelpText(
      "after",
      `
Requests may have a field "adaptvis": {"intervention": "adaptvis", "alpha1": 0.5, "attention": {"layers": [2]}, "heatmap": true}
(or the header x-adaptvis with the same JSON); answers, and the last event of a stream, then have "adaptvis" with confidence,
factor, image_share and entropy per layer, attention and heatmap. Temperature is 0 where a request gives none.
GET /health, /metrics (Prometheus), /openapi.json, /v1/models; a page to try it is at /. The log is JSON lines on stderr.
SIGTERM and Ctrl-C end the server when the running answers are written.`,
    )
    .addHelpText(
      "after",
      examples(({ model }) => ["serve --port 8080", `serve --model ${model} --api-key SECRET --host 0.0.0.0`]),
    );
}

/** Runs `serve`. */
async function serve(session: Session, flags: ServeFlags): Promise<void> {
  const apiKey = flags.apiKey ?? (process.env.ADAPTVIS_API_KEY || undefined);
  if (apiKey !== undefined && !/^[A-Za-z0-9._~+/-]+=*$/.test(apiKey)) {
    throw new UsageError("--api-key: expected letters, digits and . _ ~ + / -, as a Bearer token may have.");
  }
  // Loaded here: at the start, Deno would ask every command for the permissions that the package needs.
  const { fetchPicture, isLoopback } = await import("../serve/image-hosts.node.ts");
  if (apiKey === undefined && !isLoopback(flags.host)) {
    throw new UsageError(
      `--host ${flags.host} can be reached from other machines: add --api-key (or set ADAPTVIS_API_KEY).`,
    );
  }
  const open = await openModel(session, flags);
  try {
    const { model } = open;
    // Before the first request, so that none of several waits for a step of another size to be compiled; a CPU takes long for all.
    if (flags.maxRunning > 1 && !model.gpu.isSoftware) await model.warmUp({ sweep: false, batched: true });
    else await model.compiled();
    const [{ createApp }, { ChatService }, { listen }, { logger }] = await Promise.all([
      import("../serve/app.ts"),
      import("../serve/chat-service.ts"),
      import("../serve/listen.node.ts"),
      import("../serve/log.node.ts"),
    ]);
    const log = logger();
    const imageHosts = { allowed: flags.allowImageHosts ?? [], maxBytes: flags.maxBody, timeoutMs: 10_000 };
    const options: AppOptions = {
      service: new ChatService({
        model,
        memoryBytes: flags.memory,
        drawHeatMap: heatMapFile,
      }),
      modelId: flags.name ?? (isHubId(open.name) ? open.name : basename(open.name)),
      hosts: [flags.host.toLowerCase(), ...(flags.allowHosts ?? [])],
      origins: flags.allowOrigins ?? [],
      admission: {
        maxRunning: flags.maxRunning,
        maxWaiting: flags.maxWaiting,
        maxPerClient: flags.maxPerClient,
        timeoutMs: flags.timeout * 1000,
      },
      limits: { maxNewTokens: flags.maxTokens, maxPictures: flags.maxPictures },
      pictures: {
        decode: (bytes) => decodeImage(bytes, { name: "the picture", maxPixels: flags.maxPixels }),
        fetch: (url, signal) => fetchPicture(url, imageHosts, signal),
      },
      maxBodyBytes: flags.maxBody,
      apiKey,
      logsPrompts: flags.logPrompts === true,
      log: (line: LogLine) => log.request(line),
      clientOf: (context) => addressOf(context.env),
    };
    const app = createApp(options);
    const server = await listening(() =>
      listen(app, {
        host: flags.host,
        port: flags.port,
        maxHeaderBytes: 16_384,
        headersTimeoutMs: 10_000,
        requestTimeoutMs: 60_000,
        readTimeoutMs: 60_000,
        keepAliveTimeoutMs: 5000,
      }),
    );
    announce(session, { server, options, facts: open.facts() });
    session.endsBySignal(flags.drain * 1000 + 5000);
    await stopped(session.signal);
    session.note("adaptvis: ending; running answers are written first");
    await server.close(flags.drain * 1000);
  } finally {
    open.close();
  }
}

/** Says where the server is, with a line that works in a shell. */
function announce(
  session: Session,
  of: { readonly server: ListeningServer; readonly options: AppOptions; readonly facts: object },
): void {
  const { server, options, facts } = of;
  session.print(`${server.url}/v1\n`);
  if (session.isJson) process.stdout.write(`${JSON.stringify({ url: server.url, ...facts })}\n`);
  // The key itself is kept out of logs.
  const [key, how] =
    options.apiKey === undefined
      ? ["", ""]
      : [' -H "authorization: Bearer $ADAPTVIS_API_KEY"', ", with the key in the variable ADAPTVIS_API_KEY,"];
  const body = '{"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 16}';
  session.note(
    `adaptvis: serving ${options.modelId}; try${how}\n  curl ${server.url}/v1/chat/completions${key} -H "content-type: application/json" -d '${body}'`,
  );
}

async function listening(listen: () => Promise<ListeningServer>): Promise<ListeningServer> {
  try {
    return await listen();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    const advice = code === "EADDRINUSE" ? "; give another --port" : "";
    throw new UsageError(`The server cannot listen: ${reasonOf(error)}${advice}.`, { cause: error });
  }
}

function stopped(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** The picture under the attention, as a PNG. */
async function heatMapFile(picture: RgbImage, map: AttentionMap): Promise<Uint8Array> {
  const { width, height, data } = drawHeatMap(picture, map);
  const sharp = await loadSharp();
  return new Uint8Array(
    await sharp(data, { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer(),
  );
}

function names(text: string): readonly string[] {
  const list = text
    .split(",")
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== "");
  if (list.length === 0) throw new InvalidArgumentError("Expected names separated by commas.");
  return list;
}

/** The client's address, which @hono/node-server gives in the environment of a request. */
function addressOf(env: unknown): string {
  const { incoming }: { readonly incoming?: { readonly socket?: { readonly remoteAddress?: string } } } = Object(env);
  return incoming?.socket?.remoteAddress ?? (isDeno() ? "deno" : randomUUID());
}
