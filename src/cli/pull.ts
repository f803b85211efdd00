// adaptvis pull: downloads a model from the hub into Hugging Face's cache.
import type { Command } from "commander";
import { pullModel } from "../checkpoint/hub/pull.node.ts";
import { formatBytes } from "../gpu/device.ts";
import { asUsage, repeated } from "./checks.ts";
import { reportDownload } from "./find-model.ts";
import { revisionOption } from "./flags.ts";
import { examples } from "./package-files.ts";
import { defineCommand, type Session } from "./session.ts";

/** Parsed options of `pull`. */
interface PullFlags {
  readonly revision?: string;
  readonly include?: readonly string[];
  readonly verify?: boolean;
}

/** `adaptvis pull`. */
export const pullCommand = defineCommand("pull", describePull, pull);

/** Describes `pull` to commander. */
function describePull(command: Command): Command {
  return command
    .description(
      "Download a model from Hugging Face's hub into the cache that Python's huggingface_hub uses, too: its configuration, tokenizer, processor and safetensors. An interrupted download is continued.",
    )
    .argument("<id>", "the model's id, such as llava-hf/llava-1.5-7b-hf")
    .addOption(revisionOption())
    .option("--include <pattern>", 'also download files such as "README.md" or "demo/*"; repeatable', repeated)
    .option("--verify", "also compare the hashes of files that are in the cache already")
    .addHelpText(
      "after",
      examples(() => ["pull llava-hf/llava-1.5-7b-hf", "pull llava-hf/llava-1.5-7b-hf --verify --json"]),
    );
}

/** Runs `pull`. */
async function pull(session: Session, id: string, flags: PullFlags): Promise<void> {
  const { onProgress, onNote, onSmallFiles, stop } = await reportDownload(session, id);
  const { revision, include, verify = false } = flags;
  const { signal } = session;
  try {
    const work = () => pullModel(id, { revision, include, verify, signal, onProgress, onNote, onSmallFiles });
    const { commit, folder, files, ...model } = await asUsage(work);
    const bytes = files.reduce((sum, { size }) => sum + size, 0);
    const numNew = files.filter(({ status }) => status !== "cached").length;
    session.result({ model: model.id, revision: model.revision, commit, folder, bytes, files });
    const news = numNew === 0 ? "all in the cache before" : `${numNew} of them new`;
    session.print(
      `${id} at ${model.revision} (${commit})\n${files.length} files, ${formatBytes(bytes)}, ${news}\n${folder}\n`,
    );
  } finally {
    stop();
  }
}
