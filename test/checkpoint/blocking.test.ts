// Files and servers that never come to an end: each is told of in bounded time.
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { httpSource } from "../../src/checkpoint/http-source.ts";
import { readFileBytes, readFileText, readFileTextSync } from "../../src/checkpoint/read-file.node.ts";
import { CheckpointError, InputError } from "../../src/errors.ts";
import { readImageFile } from "../../src/preprocess/decode-image.node.ts";
import { rejection } from "./fixtures.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "adaptvis-blocking-"));
  execFileSync("mkfifo", [join(folder, "config.json")]);
  await symlink("/dev/zero", join(folder, "zero"));
  await mkdir(join(folder, "folder"));
  await writeFile(join(folder, "text"), "é");
});
afterAll(() => rm(folder, { recursive: true }));

describe("a path that is no file", () => {
  it.each([
    ["config.json", "it is a pipe, not a file: write its content into a file first"],
    ["zero", "it is a device, not a file: write its content into a file first"],
    ["folder", "it is a folder"],
  ])("%s", async (name, message) => {
    const path = join(folder, name);
    expect(await rejection(readFileBytes(path))).toMatchObject({ message });
    expect(await rejection(readFileText(path))).toMatchObject({ message });
    expect(() => readFileTextSync(path)).toThrow(message);
    const picture = await rejection(readImageFile(path));
    expect(picture).toBeInstanceOf(InputError);
    expect(picture).toMatchObject({ message: `The picture ${path} cannot be read: ${message}.` });
  });

  it("a pipe in a checkpoint's folder", async () => {
    const error = await rejection(fileSource(folder).size("config.json"));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({ message: expect.stringMatching(/config\.json cannot be opened \(it is a pipe, /) });
    expect(await fileSource(folder).size("folder")).toBeUndefined();
  });

  it("files are read, also those of /proc, which have no size", async () => {
    expect(await readFileText(join(folder, "text"))).toBe("é");
    expect(readFileTextSync(join(folder, "text"))).toBe("é");
    if (process.platform === "linux") expect(await readFileText("/proc/self/status")).toMatch(/^Name:/);
  });
});

describe("a server that", () => {
  const HEAD = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-99999/100000\r\nContent-Length: 100000\r\n\r\n";
  let server: Server;
  let respond: (socket: Socket) => void;
  const sockets = new Set<Socket>();
  let address: string;

  beforeAll(async () => {
    server = createServer((socket) => {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.once("data", () => respond(socket));
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const bound = server.address();
    address = `http://127.0.0.1:${typeof bound === "object" ? bound?.port : ""}/`;
  });
  afterAll(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  it.each<[string, (socket: Socket) => void]>([
    ["never answers", () => undefined],
    ["sends headers and stops", (socket) => void socket.write(HEAD)],
    [
      "sends a byte now and then",
      (socket) => {
        socket.write(HEAD);
        const timer = setInterval(() => socket.write("a"), 10);
        socket.on("close", () => clearInterval(timer));
      },
    ],
  ])("%s", async (_, answer) => {
    respond = answer;
    const source = httpSource(address, { stallTimeoutMs: 100, retryDelaysMs: [1] });
    const error = await rejection(source.read("a", 0, 100_000));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({
      message: expect.stringMatching(
        /could not be read in 2 attempts \(the server sent nothing, or next to nothing, for/,
      ),
    });
  });
});
