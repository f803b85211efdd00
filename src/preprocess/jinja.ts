// Jinja templates by @huggingface/jinja, within limits, because a checkpoint's template is a stranger's program. Also mended here,
// where Python's Jinja differs: the text that an iteration has written before `continue` or `break`, an `else` after a loop whose
// iterations all end so, and True, False and None as text. The package does none of that in 0.5.11; a test of
// the package itself fails once a later version does, and the mending can go.

import { Environment, Interpreter, Template } from "@huggingface/jinja";

/** A parsed template. */
export interface JinjaTemplate {
  /** @throws Error with a reason when the template fails, calls `raise_exception`, or exceeds a limit. */
  render(variables: Readonly<Record<string, unknown>>): string;
}

/** Evaluated nodes; a new value counts as one more for every 64 characters, or each element. 1,000 turns take about 50,000. */
const MAX_STEPS = 500_000;
/** Elements of a range, as in Jinja's sandbox. */
const MAX_RANGE = 100_000;
/** Characters or elements of any value. */
const MAX_LENGTH = 2 ** 24;

/** Nodes that write nothing of their own: what they return as a null is no `None`. */
const STATEMENTS = new Set([
  ...["Program", "Set", "If", "For", "Macro", "CallStatement", "FilterStatement", "Comment", "Break", "Continue"],
]);
/** Statements that keep what is written inside for themselves. */
const CAPTURES = new Set(["Set", "CallStatement", "FilterStatement"]);

/** Parses a template. @throws Error with a reason when it is not Jinja. */
export function parseJinja(source: string): JinjaTemplate {
  const template = new Template(source.replaceAll(/\r\n?/g, "\n")); // as Python's Jinja reads its source
  const now = new Template("{{ strftime_now(format) }}");
  const loopBodies = bodiesOfLoops(template.parsed);
  return {
    render(variables) {
      const environment = new Environment();
      const globals = {
        ...{ true: true, false: false, none: null, True: true, False: false, None: null },
        range,
        raise_exception(message: unknown): never {
          throw new Error(String(message));
        },
        strftime_now: (format: unknown) => now.render({ format }),
      };
      for (const [name, value] of Object.entries({ ...globals, ...variables })) environment.set(name, value);
      const interpreter = new Interpreter(environment);
      override(interpreter, loopBodies);
      return String(interpreter.run(template.parsed).value);
    },
  };
}

type Program = Template["parsed"];
type Statement = Program["body"][number];

/** A value of the package's runtime. */
interface RuntimeValue {
  readonly type: string;
  value: unknown;
  toString(): string;
}

/** The interpreter's methods that are replaced; its declarations call one of them private. */
interface OpenInterpreter {
  evaluate(statement: Statement | undefined, environment: Environment): RuntimeValue;
  evaluateBlock(statements: readonly Statement[], environment: Environment): RuntimeValue;
}

/** Replaces how this interpreter, and no other one, evaluates nodes and blocks. */
function override(interpreter: Interpreter, loopBodies: ReadonlySet<unknown>): void {
  const open = interpreter as unknown as OpenInterpreter; // the declarations hide evaluateBlock, see above
  const evaluate = open.evaluate.bind(interpreter);
  const evaluateBlock = open.evaluateBlock.bind(interpreter);
  const budget = new Budget();
  /** What has been thrown by `continue` and `break`, which end an iteration, and what it had written by then. */
  const controls = new Map<unknown, { readonly kind: string; text: string }>();
  /** Scopes of loops that have ended by `break`, and what `break` threw. */
  const ended = new Map<Environment, unknown>();

  open.evaluate = (statement, environment) => {
    budget.spend(1);
    try {
      const value = evaluate(statement, environment);
      if (statement !== undefined && isNewValue(statement)) budget.check(value.value);
      return value;
    } catch (error) {
      const kind = statement?.type ?? "";
      if (kind === "Break" || kind === "Continue") controls.set(error, { kind, text: "" });
      const control = controls.get(error);
      if (control !== undefined && CAPTURES.has(kind)) control.text = "";
      throw error;
    }
  };

  open.evaluateBlock = (statements, environment) => {
    budget.spend(1);
    // The package's loop goes on after an iteration that returns; its next one ends it.
    if (loopBodies.has(statements) && ended.has(environment)) throw ended.get(environment);
    const written = evaluateBlock([], environment);
    let text = "";
    try {
      for (const statement of statements) {
        text += textOf(open.evaluate(statement, environment), statement);
        if (text.length > MAX_LENGTH) throw tooLong();
      }
    } catch (error) {
      const control = controls.get(error);
      if (control === undefined) throw error;
      control.text = text + control.text;
      if (!loopBodies.has(statements)) throw error;
      if (control.kind === "Break") ended.set(environment, error);
      text = control.text;
    }
    written.value = text;
    return written;
  };
}

/** Whether a node makes its value; others look up one that was paid for when it was made. */
function isNewValue(node: Statement): boolean {
  const { type, property }: { readonly type: string; readonly property?: Statement } = node;
  return type !== "Identifier" && (type !== "MemberExpression" || property?.type === "SliceExpression");
}

/** What a node writes. */
function textOf(value: RuntimeValue, { type }: Statement): string {
  if (value.type === "UndefinedValue") return "";
  if (value.type === "NullValue") return STATEMENTS.has(type) ? "" : "None";
  if (value.type === "BooleanValue") return value.value === true ? "True" : "False";
  return value.toString();
}

/** Counts what a rendering does. */
class Budget {
  private steps = 0;

  /** @throws Error when there were too many steps. */
  spend(steps: number): void {
    this.steps += steps;
    if (this.steps > MAX_STEPS) throw new Error(`runs more than ${MAX_STEPS} steps, the limit of a template`);
  }

  /** @throws Error for a value that is too long. */
  check(value: unknown): void {
    const isList = Array.isArray(value);
    const length = isList || typeof value === "string" ? value.length : 0;
    if (length > MAX_LENGTH) throw tooLong();
    this.spend(isList ? length : Math.floor(length / 64));
  }
}

function tooLong(): Error {
  return new Error(`makes a value of more than ${MAX_LENGTH} characters, the limit of a template`);
}

/** The blocks of all loops of a template. */
function bodiesOfLoops(program: Program): ReadonlySet<unknown> {
  const bodies = new Set<unknown>();
  const waiting: unknown[] = [program];
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    if (typeof node !== "object" || node === null) continue;
    if ("type" in node && node.type === "For" && "body" in node) bodies.add(node.body);
    waiting.push(
      ...(node instanceof Map ? [...node].flat() : Object.values(node)).filter((value) => value !== undefined),
    );
  }
  return bodies;
}

/** Python's `range` within Jinja's bound. */
function range(...bounds: readonly unknown[]): readonly number[] {
  const numbers = bounds.map(Number);
  const [start, stop, step = 1] = numbers.length === 1 ? [0, ...numbers] : numbers;
  if (start === undefined || stop === undefined || ![start, stop, step].every(Number.isInteger) || step === 0) {
    throw new Error(`range takes one to three whole numbers, and a step other than 0; got ${bounds.join(", ")}`);
  }
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (length > MAX_RANGE)
    throw new Error(`has a range of ${length} numbers, more than the ${MAX_RANGE} that are allowed`);
  return Array.from({ length }, (_, index) => start + index * step);
}
