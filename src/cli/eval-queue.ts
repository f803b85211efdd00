// adaptvis eval --queue: the questions of a run go to a queue, and the answers of the workers come back into the run's folder.
import { join, resolve } from "node:path";
import { InvalidArgumentError } from "commander";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import type { DataFolder } from "../evaluate/run/data-folder.node.ts";
import { collectRun, type FailedQuestion, QUEUE_TIMES, queueName, type RunOffer } from "../evaluate/run/queue.node.ts";
import { checkRedisUrl, RedisLink } from "../evaluate/run/redis-link.node.ts";
import { type Manifest, QUESTIONS, RunFolder } from "../evaluate/run/run-folder.node.ts";
import { noteAnswered, questionBar, type RunRequest } from "./eval-setup.ts";
import { packageVersion } from "./package-files.ts";
import type { Session } from "./session.ts";

/** Where the data set is, as the options say. */
interface DataFlags {
  readonly questions?: string;
  readonly annotations?: string;
}

/** Parses `--queue`. */
export function redisUrl(text: string): string {
  try {
    checkRedisUrl(text);
    return text;
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

/**
 * Has the questions of a run answered by workers.
 * @returns the questions that they could not answer
 * @throws InputError for a server that cannot be used or stays away, or a folder that cannot be written; AbortError.
 */
export async function answerByQueue(
  session: Session,
  of: {
    readonly url: string;
    readonly out: string;
    readonly manifest: Manifest;
    readonly request: RunRequest;
    readonly ids: readonly number[];
    readonly data: DataFolder;
    readonly dataDir: string;
    readonly flags: DataFlags;
  },
): Promise<readonly FailedQuestion[]> {
  const { url, out, manifest, request, ids, data, dataDir, flags } = of;
  const note = (text: string) => session.note(text);
  const link = await RedisLink.open(url, { patienceMs: QUEUE_TIMES.patienceMs, note });
  try {
    const run = await RunFolder.open(out, manifest);
    try {
      if (data.isConverted) await writeFileWhole(join(out, QUESTIONS), data.questionText);
      const { questions, annotations } = flags;
      const { methods, maxRows, boxes } = request;
      const absolute = (path: string | undefined) => (path === undefined ? null : resolve(path));
      const offer: RunOffer = {
        format: 1,
        name: await queueName(out, manifest),
        identity: manifest.identity,
        methods,
        maxRows,
        boxes: absolute(boxes?.source.path),
        ids,
        data: { folder: resolve(dataDir), questions: absolute(questions), annotations: absolute(annotations) },
        version: packageVersion(),
      };
      const numOpen = ids.filter((id) => !run.has(id)).length;
      noteAnswered(session, ids, run);
      note(`adaptvis: ${numOpen} questions are on ${link.name} as ${offer.name}`);
      const bar = await questionBar(ids.length, ids.length - numOpen);
      try {
        const { signal } = session;
        return await collectRun(link, run, {
          offer,
          times: QUEUE_TIMES,
          signal,
          note,
          onAnswered: () => bar.increment(),
        });
      } finally {
        bar.stop();
      }
    } finally {
      run.close();
    }
  } finally {
    link.close();
  }
}
