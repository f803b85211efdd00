// Marks in the names of temporary files and folders: whose they are, so that what a killed process left is known as such at once.

import { createHash, randomBytes } from "node:crypto";
import { readlinkSync } from "node:fs";
import { hostname } from "node:os";

/** A part of a name that is this process's and no other's: `HOST.PID.RANDOM`. */
export function ownMark(): string {
  return `${hostTag()}.${process.pid}.${randomBytes(4).toString("hex")}`;
}

/** Whether a name has the mark of a process of this machine that is gone. */
export function isLeftBehind(name: string): boolean {
  const [, host, pid] = /(?:^|[.-])([0-9a-f]{8})\.(\d+)\.[0-9a-f]{8}(?:\.|$)/.exec(name) ?? [];
  return host === hostTag() && !isRunning(Number(pid));
}

let tag: string | undefined;

/** Eight hexadecimal digits of this machine; containers that share a folder have other numbers for their processes. */
export function hostTag(): string {
  tag ??= createHash("sha256").update(`${hostname()} ${processNamespace()}`).digest("hex").slice(0, 8);
  return tag;
}

function processNamespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return ""; // not Linux
  }
}

/** Whether a process of this machine runs. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0); // sends nothing
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
