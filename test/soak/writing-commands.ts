// Every command that writes files for its user.

import { join } from "node:path";
import { repoOf, tinySpatialRepo } from "../checkpoint/hub/fixtures.ts";
import { type LocalHub, startLocalHub } from "../setup/local-hub.ts";
import { writeMadeUpRuns } from "../setup/made-up-runs.ts";
import type { WritingCommand } from "./kills.ts";

/** The commands, and what has to be closed at the end. */
export interface WritingCommands {
  readonly commands: readonly WritingCommand[];
  close(): Promise<void>;
}

/**
 * Makes what the commands read.
 * @param root the repository
 * @param folder a new folder, which the caller removes
 */
export async function writingCommands(root: string, folder: string): Promise<WritingCommands> {
  const model = join(root, "weights", "tiny-spatial");
  const data = join(model, "benchmark", "test");
  const picture = join(data, "controlled_images", "book_left_of_mug.jpeg");
  const question = "Where is the book in relation to the mug? Answer with left, right, on or under.";
  const runs = await writeMadeUpRuns(folder);
  const hub: LocalHub = await startLocalHub();
  hub.repos.set("org/tiny-spatial", await tinySpatialRepo()).set("org/small", repoOf({ "config.json": "{}" }));
  const commands: readonly WritingCommand[] = [
    {
      name: "trace --out",
      args: (out) => [
        "trace",
        "--image",
        picture,
        question,
        "--max-new-tokens",
        "1",
        "--out",
        join(out, "t.safetensors"),
      ],
      files: ["t.safetensors"],
    },
    ...["lens", "attribute"].map((name) => ({
      name: `${name} --out`,
      args: (out: string) => [name, "--image", picture, question, "--out", join(out, `${name}.safetensors`)],
      files: [`${name}.safetensors`],
    })),
    {
      name: "ask --heatmap",
      args: (out) => ["ask", "--image", picture, question, "--heatmap", join(out, "map.png")],
      files: ["map.png"],
    },
    {
      name: "patch --html",
      args: (out) => [
        "patch",
        "ablate",
        "--image",
        picture,
        question,
        "--token",
        "Left",
        "--html",
        join(out, "grid.html"),
      ],
      files: ["grid.html"],
    },
    {
      name: "quantize",
      args: (out) => ["quantize", model, join(out, "q8"), "--dtype", "q8"],
      files: [],
    },
    {
      name: "pull",
      args: () => ["pull", "org/tiny-spatial"],
      env: (out) => ({
        HF_ENDPOINT: hub.url,
        HF_HUB_CACHE: out,
        HF_HOME: out,
        HF_HUB_OFFLINE: undefined,
        TRANSFORMERS_OFFLINE: undefined,
      }),
      files: [],
    },
    {
      name: "eval run",
      args: (out) => [
        ...["eval", "--dataset", "Controlled_A", "--data-dir", data, "--split", "all", "--limit", "4"],
        ...["--method", "greedy", "--method", "scaling:factor=1.5", "--out", join(out, "run")],
      ],
      files: [],
      varying: /results\.jsonl|manifest\.json|summary\.json/, // times
    },
    {
      name: "report",
      args: (out) => [
        "report",
        runs.controlledA,
        runs.vsr,
        "--out",
        join(out, "r.html"),
        "--markdown",
        join(out, "r.md"),
        "--csv",
        join(out, "csv"),
      ],
      files: ["r.html", "r.md"],
      varying: /r\.(html|md)$/, // the date
    },
    {
      name: "eval tune",
      args: (out) => [
        "eval",
        "tune",
        runs.controlledA,
        "--cross-validate",
        "--folds",
        "2",
        "--repeats",
        "2",
        "--out",
        join(out, "tuned.json"),
      ],
      files: ["tuned.json"],
    },
    {
      name: "ask --tune",
      args: () => ["ask", "--tune", "--image", picture, question],
      env: (out) => ({ XDG_CACHE_HOME: out }),
      files: [],
      varying: /tuning|mesa_shader_cache/,
    },
  ];
  return { commands, close: () => hub.close() };
}
