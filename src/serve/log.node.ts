// The server's log: JSON lines on stderr.
import type { LogLine } from "./app.ts";
import { pino } from "./packages.ts";

/** Writes lines of the log. */
export interface ServerLog {
  request(line: LogLine): void;
}

/** The log on stderr; level by ADAPTVIS_LOG_LEVEL, "info" unless set. */
export function logger(level = process.env.ADAPTVIS_LOG_LEVEL ?? "info"): ServerLog {
  const log = pino(
    { level: level in LEVELS ? level : "info", base: undefined },
    pino.destination({ fd: 2, sync: true }),
  );
  return {
    request({ error, ...line }) {
      if (error === undefined) log.info(line, "request");
      else log.error({ ...line, err: error }, "request failed");
    },
  };
}

const LEVELS = { fatal: 0, error: 0, warn: 0, info: 0, debug: 0, trace: 0, silent: 0 };
