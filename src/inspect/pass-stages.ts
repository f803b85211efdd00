// The stages of an answer as people speak of them, from the labels of the programs in their order.
import type { Program } from "../gpu/program.ts";

/** What an answer is made with. */
export interface StagePlan {
  readonly promptLength: number;
  readonly numTiles: number;
  /** Whether AdaptVis takes a confidence from the first choice. */
  readonly choosesConfidence: boolean;
}

/** Names stage after stage; one object an answer. */
export class StageNamer {
  private readonly plan: StagePlan;
  private numTiles = 0;
  private numChoices = 0;
  private numSteps = 0;
  private numPrefilled = 0;
  private isScaledAgain = false;

  constructor(plan: StagePlan) {
    this.plan = plan;
  }

  /** The stage of each of the programs that are submitted together. */
  next(programs: readonly Program[]): readonly string[] {
    const labels = programs.map(({ label }) => label);
    // A new token's embedding and its step belong together; AdaptVis' step begins with a copy of the prompt's last row.
    const isStep = labels.some((label) => /step/.test(label));
    const step = isStep ? this.stepName(labels.includes("repeat")) : "";
    return programs.map(({ label, commands }) => {
      if (label === "vision") return this.plan.numTiles > 1 ? `vision, tile ${++this.numTiles}` : "vision";
      if (label === "prefill") return this.prefillName(numRowsOf(commands));
      if (label.startsWith("choose") && !/step/.test(label)) return this.choiceName();
      return isStep ? step : label;
    });
  }

  private stepName(isRepeated: boolean): string {
    return isRepeated ? "adaptvis step" : `decode step ${++this.numSteps}`;
  }

  private prefillName(numRows: number): string {
    const { promptLength } = this.plan;
    if (this.numPrefilled >= promptLength) this.isScaledAgain = true;
    const name = this.isScaledAgain ? "adaptvis prefill" : "prefill";
    const start = this.isScaledAgain ? undefined : this.numPrefilled;
    this.numPrefilled += numRows;
    if (start === undefined || (start === 0 && numRows >= promptLength)) return name;
    return `${name}, positions ${start} to ${start + numRows - 1}`;
  }

  private choiceName(): string {
    const { choosesConfidence } = this.plan;
    const index = this.numChoices++;
    if (choosesConfidence && index === 0) return "confidence";
    return `choose token ${choosesConfidence ? index - 1 : index}`;
  }
}

/** Rows of a prefill: its linear layers say so. */
function numRowsOf(commands: Program["commands"]): number {
  const counts = commands.map((command) => ("call" in command ? (command.call.params?.numRows ?? 0) : 0));
  return Math.max(0, ...counts);
}
