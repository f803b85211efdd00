// "What the kernels do": an answer together with every pass that made it. The programs of the answer are run one dispatch
// at a time, and right behind each what it wrote is read back, so that the answer is the same to the bit as without.
import type { Answer, AnswerOptions } from "./answer.ts";
import { explainOptions, modelInputs } from "./check-arguments.ts";
import { accepts, GpuError, InputError, kindOf } from "./errors.ts";
import { ExplainExecutor } from "./inspect/explain-executor.ts";
import type { ExplainedKernel, ExplainedPass } from "./inspect/explained-pass.ts";
import type { Llava } from "./llava.ts";
import type { ModelInputs } from "./models/inputs.ts";

/** How an answer is explained: an answer's options, of which `maxNewTokens` is 3 unless given. All of the prompt runs. */
export interface ExplainOptions extends Omit<AnswerOptions, "reusePrefix"> {
  /** Called for every pass as it is done. */
  readonly onPass?: (pass: ExplainedPass) => void;
  /** Reads back what every pass wrote; true unless given. */
  readonly values?: boolean;
}

/** An answer and its passes; all but `answer.attention` is plain data that can be cloned. */
export interface Explanation {
  readonly answer: Answer;
  /** In the order in which they ran. */
  readonly passes: readonly ExplainedPass[];
  /** By `ExplainedPass.kernel`. */
  readonly kernels: Readonly<Record<string, ExplainedKernel>>;
}

/** New tokens of an explained answer unless said otherwise: enough to see the prompt, a choice and decode steps. */
export const DEFAULT_EXPLAINED_TOKENS = 3;

/**
 * Answers and explains every pass of it; questions asked meanwhile wait.
 * @throws InputError for a bad option; AbortError between two passes; GpuError, which for logits that are not finite names the
 *   first pass that wrote such a number. The model stays usable.
 */
export async function explain(model: Llava, inputs: ModelInputs, options: ExplainOptions = {}): Promise<Explanation> {
  const { onPass, values: readsValues = true, ...asked } = explainOptions(options);
  if (!accepts(model, ({ answer, config, gpu }) => typeof answer === "function" && config.text && gpu.device))
    throw new InputError(`explain: expected a model, got ${kindOf(model)}.`);
  const checked = modelInputs(inputs, model); // before anything is run one dispatch at a time
  const { gpu } = model;
  const executor = new ExplainExecutor(gpu, { readsValues, onPass, signal: asked.signal });
  try {
    const answered = { maxNewTokens: DEFAULT_EXPLAINED_TOKENS, ...asked, reusePrefix: false };
    const answer = await model.answer(checked, answered, { executor, phase: "explain" });
    return { answer, passes: executor.passes, kernels: executor.kernels };
  } catch (error) {
    throw withOrigin(error, executor.passes);
  } finally {
    executor.dispose();
  }
}

/** Logits that are not finite are found at the end; the passes tell where that began. */
function withOrigin(error: unknown, passes: readonly ExplainedPass[]): unknown {
  const origin = passes.find(({ outputs }) => outputs.some(({ numNonFinite }) => numNonFinite > 0));
  if (!(error instanceof GpuError) || error.reason !== "shader" || origin === undefined) return error;
  const { index, stage, place } = origin;
  const where = `the first number that is not finite was written by pass ${index} (${stage}, ${place})`;
  return new GpuError("shader", `${error.message.replace(/\.$/, "")}; ${where}.`, { cause: error });
}
