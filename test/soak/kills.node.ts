// The kills as a program: prints one JSON object.
//   node kills.node.mjs '{"root": …, "kills": …, "seed": …, "commands": [NAME, …]}'

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom } from "../reference/random.ts";
import { type KillReport, killAtRandom } from "./kills.ts";
import { writingCommands } from "./writing-commands.ts";

/** What to kill, and how often. */
interface KillPlan {
  readonly root: string;
  /** Per command. */
  readonly kills: number;
  readonly seed: number;
  /** All unless given. */
  readonly commands?: readonly string[];
}

const { root, kills, seed, commands: wanted }: KillPlan = JSON.parse(process.argv[2] ?? "{}");
const adapter = process.env.ADAPTVIS_TEST_ADAPTER ?? "swiftshader";
const folder = await mkdtemp(join(tmpdir(), "adaptvis-kills-"));
const random = createRandom(seed);
const reports: KillReport[] = [];
const { commands, close } = await writingCommands(root, folder);
try {
  for (const command of commands) {
    if (wanted !== undefined && !wanted.includes(command.name)) continue;
    const program = [process.execPath, join(root, "dist", "cli.js"), "--adapter", adapter] as const;
    const env = { NO_COLOR: "1", FORCE_COLOR: undefined };
    const report = await killAtRandom(command, kills, { program, env, random });
    process.stderr.write(
      `kills: ${report.command}: ${report.killed} of ${kills} killed, ${report.problems.length} problems\n`,
    );
    reports.push(report);
  }
} finally {
  await close();
  await rm(folder, { recursive: true, force: true });
}
process.stdout.write(`${JSON.stringify({ kills: reports }, null, 2)}\n`);
process.exit(0);
