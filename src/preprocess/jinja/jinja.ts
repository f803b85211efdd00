// Jinja templates by @huggingface/jinja, within limits, because a checkpoint's template is a stranger's program. The package parses
// them and runs their statements; what Python computes otherwise is computed here: operators, filters, tests, methods, attributes,
// what values are written as, where a macro looks up names, the text that an iteration has written before `continue` or `break`, and
// an `else` after a loop whose iterations all end so. What Jinja2 can and this cannot is refused by name. The package does none of that
// in 0.5.11; a test of the package itself fails once a later version does, and the mending can go.

import { Environment, Interpreter, Template } from "@huggingface/jinja";
import { filterOf, testOf } from "./filters.ts";
import { itemOf, memberOf } from "./methods.ts";
import { binary, COMPARISONS, OPERATORS } from "./operators.ts";
import { Arguments } from "./texts.ts";
import {
  asBoolean,
  asFunction,
  asInteger,
  asList,
  asString,
  costOf,
  elementsOf,
  isDict,
  isList,
  isString,
  isUndefined,
  kindOfList,
  type Limits,
  type RuntimeFunction,
  type RuntimeValue,
  textOf,
  unsupported,
} from "./values.ts";

/** A parsed template. */
export interface JinjaTemplate {
  /** @throws Error with a reason when the template fails, calls `raise_exception`, or exceeds a limit. */
  render(variables: Readonly<Record<string, unknown>>): string;
}

/** Evaluated nodes; a value counts as one more for every 32 characters or elements that are gone through. 1,000 turns take about 50,000. */
const MAX_STEPS = 250_000;
/** Elements of a range, as in Jinja's sandbox. */
const MAX_RANGE = 100_000;
/** Characters of a template. */
const MAX_SOURCE = 2 ** 18;
/** Characters or elements of any value. */
const MAX_LENGTH = 2 ** 24;

/** Nodes that write nothing of their own: what they return as a null is no `None`. */
const STATEMENTS = new Set([
  ...["Program", "Set", "If", "For", "Macro", "CallStatement", "FilterStatement", "Comment", "Break", "Continue"],
]);
/** Statements that keep what is written inside for themselves. */
const CAPTURES = new Set(["Set", "CallStatement", "FilterStatement"]);

/** White space for either Python or the package, but not for both. */
const ODD_SPACE = ["\ufeff", "\u0085", "\u001c", "\u001d", "\u001e", "\u001f"];

/** Parses a template. @throws Error with a reason when it is not Jinja. */
export function parseJinja(source: string): JinjaTemplate {
  checkSource(source);
  const template = new Template(source.replaceAll(/\r\n?/g, "\n")); // as Python's Jinja reads its source
  const now = new Template("{{ strftime_now(format) }}");
  const loops = loopsOf(template.parsed);
  return {
    render(variables) {
      const environment = new Environment();
      const globals = {
        ...{ true: true, false: false, none: null, True: true, False: false, None: null },
        raise_exception(message: unknown): never {
          throw new Error(String(message));
        },
        strftime_now: (format: unknown) => now.render({ format }),
      };
      for (const [name, value] of Object.entries({ ...globals, ...variables })) environment.set(name, value);
      const range = asFunction((args) => asList(rangeOf(args).map(asInteger), "range"));
      environment.variables.set("range", range as never); // a function of the package's own class, see asFunction
      const interpreter = new Interpreter(environment);
      override(interpreter, loops);
      return String(interpreter.run(template.parsed).value);
    },
  };
}

/** @throws Error for a source that the package reads otherwise than Python's Jinja, or that takes it long to read. */
function checkSource(source: string): void {
  if (source.length > MAX_SOURCE) throw new Error(`has more than ${MAX_SOURCE} characters, the limit of a template`);
  // The package's search for generation tags takes time with the square of such a run.
  if (/\s{256}/.test(source)) throw unsupported("256 white space characters in a row");
  const odd = ODD_SPACE.find((character) => source.includes(character));
  if (odd !== undefined) throw unsupported(`the character U+${odd.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const hasTag = source.split("}}").some((part) => {
    const start = part.indexOf("{{");
    return start >= 0 && /\{%-?\s*(?:end)?generation\b/.test(part.slice(start));
  });
  if (hasTag) throw unsupported("the generation tag within an expression");
  // The package takes some text for the beginning or end of a tag.
  for (const [open, close] of [
    ["{%", "%}"],
    ["{#", "#}"],
  ] as const) {
    if (source.split(open).length !== source.split(close).length)
      throw unsupported(`an unequal number of ${open} and ${close}`);
  }
  if (/^[ \t]+\{-|-\}\n/m.test(source)) throw unsupported("{- or -} outside of a tag");
  // It drops generation tags before it strips white space, so that a tag beside one strips what is beyond.
  const trimmed = source.replace(/^[ \t]*(\{[#%])/gm, "$1").replace(/([#%]\})\n/g, "$1");
  if (
    [STRIPS_AFTER_GENERATION, STRIPS_BEFORE_GENERATION, STRIPS_BETWEEN_GENERATION].some((form) => form.test(trimmed))
  ) {
    throw unsupported("white space control beside a generation tag with white space on its other side");
  }
}

const GENERATION = "\\{%-?\\s*(?:end)?generation\\s*-?%\\}";
const STRIPS_AFTER_GENERATION = new RegExp(
  `-[%}#]\\}(?:\\s*${GENERATION}){0,20}\\s*\\{%-?\\s*(?:end)?generation\\s*%\\}\\s`,
);
const STRIPS_BETWEEN_GENERATION = /generation\s*%\}\s+\{%-\s*(?:end)?generation/;
const STRIPS_BEFORE_GENERATION = new RegExp(
  `\\s\\{%\\s*(?:end)?generation\\s*-?%\\}(?:\\s*${GENERATION}){0,20}\\s*\\{[%{#]-`,
);

type Program = Template["parsed"];
type Statement = Program["body"][number];

/** The interpreter's methods that are replaced; its declarations call one of them private. */
interface OpenInterpreter {
  evaluate(statement: Statement | undefined, environment: Environment): RuntimeValue;
  evaluateBlock(statements: readonly Statement[], environment: Environment): RuntimeValue;
  applyFilter(value: RuntimeValue, filter: Statement, environment: Environment): RuntimeValue;
}

/** Replaces how this interpreter, and no other one, evaluates nodes and blocks. */
function override(interpreter: Interpreter, loops: Loops): void {
  const open = interpreter as unknown as OpenInterpreter; // the declarations hide evaluateBlock, see above
  const evaluate = open.evaluate.bind(interpreter);
  const evaluateBlock = open.evaluateBlock.bind(interpreter);
  const budget = new Budget();
  const python = new PythonNodes((node, environment) => open.evaluate(node, environment), budget);
  /** What has been thrown by `continue` and `break`, which end an iteration, and what it had written by then. */
  const controls = new Map<unknown, { readonly kind: string; text: string }>();
  /** Scopes of loops that have ended by `break`, and what `break` threw. */
  const ended = new Map<Environment, unknown>();

  open.applyFilter = (value, filter, environment) => python.filter(value, filter, environment);
  open.evaluate = (statement, environment) => {
    // The package goes through the nodes of a macro each time it is defined.
    budget.spend(statement?.type === "Macro" || statement?.type === "CallStatement" ? 1 + loops.numNodes / 8 : 1);
    try {
      const own = statement === undefined ? undefined : python.evaluate(statement, environment);
      let value = own ?? evaluate(statement, environment);
      if (statement?.type === "Macro") closeMacro(statement, environment);
      if (statement !== undefined && loops.iterables.has(statement)) {
        value = iterable(value);
        budget.spend(4 * sizeOf(value)); // the package prepares all iterations first
      }
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
    if (loops.bodies.has(statements) && ended.has(environment)) throw ended.get(environment);
    const written = evaluateBlock([], environment);
    let text = "";
    try {
      for (const statement of statements) {
        const value = open.evaluate(statement, environment);
        const isNothing = value.type === "NullValue" && STATEMENTS.has(statement.type);
        text += isNothing ? "" : textOf(value, budget);
        if (text.length > MAX_LENGTH) throw tooLong();
      }
    } catch (error) {
      const control = controls.get(error);
      if (control === undefined) throw error;
      control.text = text + control.text;
      if (!loops.bodies.has(statements)) throw error;
      if (control.kind === "Break") ended.set(environment, error);
      text = control.text;
    }
    written.value = text;
    return written;
  };
}

/** What a loop goes through, as a list that the package's loop takes. */
function iterable(value: RuntimeValue): RuntimeValue {
  return isList(value) || isDict(value) ? value : asList(elementsOf(value));
}

function sizeOf(value: RuntimeValue): number {
  return isDict(value) ? value.value.size : isList(value) ? value.value.length : 0;
}

/** Lets a macro look up names where it is defined, and not where it is called. */
function closeMacro(statement: Statement, environment: Environment): void {
  const { name }: { readonly name?: { readonly value?: unknown } } = statement;
  const macro = typeof name?.value === "string" ? environment.lookupVariable(name.value) : undefined;
  if (macro?.type !== "FunctionValue") return;
  const run = macro.value as unknown as RuntimeFunction; // what the type says
  const closed = asFunction((args, scope) => {
    const own = new Environment(environment);
    const caller = scope.variables.get("caller");
    if (caller !== undefined) own.variables.set("caller", caller);
    return run(args, own);
  });
  macro.value = closed.value as typeof macro.value; // of the same kind, see asFunction
}

/** A node of an expression, as far as it is read here. */
interface ExpressionNode {
  readonly type: string;
  readonly operator?: { readonly value: string };
  readonly left?: Statement;
  readonly right?: Statement;
  readonly operand?: Statement;
  readonly argument?: Statement;
  readonly filter?: Statement;
  readonly negate?: boolean;
  readonly test?: Statement;
  readonly callee?: Statement;
  readonly args?: readonly Statement[];
  readonly object?: Statement;
  readonly property?: Statement;
  readonly computed?: boolean;
  readonly key?: { readonly value: string };
  readonly value?: unknown;
  readonly start?: Statement;
  readonly stop?: Statement;
  readonly step?: Statement;
}

/** Evaluates the nodes of expressions that Python computes otherwise than the package. */
class PythonNodes {
  private readonly evaluateOther: (node: Statement | undefined, environment: Environment) => RuntimeValue;
  private readonly limits: Limits;

  constructor(evaluateOther: (node: Statement | undefined, environment: Environment) => RuntimeValue, limits: Limits) {
    this.evaluateOther = evaluateOther;
    this.limits = limits;
  }

  /** @returns undefined for a node that is left to the package */
  evaluate(statement: Statement, environment: Environment): RuntimeValue | undefined {
    const node: ExpressionNode = statement;
    const value = (part: Statement | undefined) => this.evaluateOther(part, environment);
    switch (node.type) {
      case "IntegerLiteral":
        return asInteger(Number(node.value));
      case "TupleLiteral": {
        const items: readonly Statement[] = Array.isArray(node.value) ? node.value : [];
        return asList(items.map(value), "tuple");
      }
      case "BinaryExpression": {
        const operator = node.operator?.value ?? "";
        if (!OPERATORS.has(operator)) return undefined; // and, or
        const left: ExpressionNode | undefined = node.left;
        if (
          COMPARISONS.has(operator) &&
          left?.type === "BinaryExpression" &&
          COMPARISONS.has(left.operator?.value ?? "")
        ) {
          throw unsupported("comparisons of comparisons");
        }
        return binary(operator, [value(node.left), value(node.right)], this.limits);
      }
      case "FilterExpression":
        return this.filter(value(node.operand), node.filter, environment);
      case "TestExpression": {
        const { value: name }: ExpressionNode = node.test ?? { type: "" };
        const operand = value(node.operand);
        this.limits.spend(costOf(operand));
        const holds = testOf(String(name))(operand, undefined, this.limits);
        return asBoolean(holds !== node.negate);
      }
      case "MemberExpression":
        return this.member(node, environment);
      case "Identifier":
        if (node.value === "self" || node.value === "super") {
          if (isUndefined(environment.lookupVariable(node.value))) throw unsupported(`the name ${node.value}`);
        }
        return undefined;
      default:
        return undefined;
    }
  }

  /** `value | filter`. */
  filter(value: RuntimeValue, filter: Statement | undefined, environment: Environment): RuntimeValue {
    const node: ExpressionNode = filter ?? { type: "" };
    const callee: ExpressionNode = node.callee ?? node;
    const name = String(callee.value);
    const positional: RuntimeValue[] = [];
    const named = new Map<string, RuntimeValue>();
    for (const argument of node.args ?? []) {
      const part: ExpressionNode = argument;
      if (part.type === "SpreadExpression" || part.type === "KeywordSpreadExpression") {
        throw unsupported("* and ** in the arguments of a filter");
      }
      if (part.type === "KeywordArgumentExpression" && part.key !== undefined) {
        // A node's value is a node here.
        named.set(part.key.value, this.evaluateOther(part.value as Statement, environment));
      } else {
        positional.push(this.evaluateOther(argument, environment));
      }
    }
    this.limits.spend(costOf(value));
    return filterOf(name)(value, new Arguments(name, positional, { named, limits: this.limits }));
  }

  private member(node: ExpressionNode, environment: Environment): RuntimeValue {
    const object = this.evaluateOther(node.object, environment);
    if (node.computed === true) this.limits.spend(costOf(object));
    const property: ExpressionNode = node.property ?? { type: "" };
    if (property.type === "SliceExpression") return this.slice(object, property, environment);
    if (node.computed === true) return itemOf(object, this.evaluateOther(node.property, environment));
    if (property.type === "IntegerLiteral") return itemOf(object, asInteger(Number(property.value)));
    return memberOf(object, String(property.value), this.limits);
  }

  private slice(object: RuntimeValue, node: ExpressionNode, environment: Environment): RuntimeValue {
    const bound = (part: Statement | undefined): number | undefined => {
      if (part === undefined) return undefined;
      const value = this.evaluateOther(part, environment);
      if (value.type === "NullValue") return undefined;
      if (value.type === "IntegerValue" && typeof value.value === "number") return value.value;
      throw new Error("slice indices must be integers or None");
    };
    const [start, stop, step = 1] = [bound(node.start), bound(node.stop), bound(node.step)];
    const kind = isList(object) ? kindOfList(object) : undefined;
    if (!isString(object) && kind !== "list" && kind !== "tuple" && kind !== "range") {
      throw new Error("the value cannot be sliced");
    }
    if (step === 0) throw new Error("slice step cannot be zero");
    const elements = elementsOf(object);
    const { length } = elements;
    const low = step > 0 ? 0 : -1;
    const high = step > 0 ? length : length - 1;
    const place = (index: number | undefined, missing: number) =>
      index === undefined ? missing : Math.min(high, Math.max(low, index < 0 ? index + length : index));
    const from = place(start, step > 0 ? low : high);
    const to = place(stop, step > 0 ? high : low);
    const count = Math.max(0, Math.ceil((to - from) / step));
    this.limits.spend(count);
    const part = Array.from({ length: count }, (_, index) => elements[from + index * step]).filter(
      (item) => item !== undefined,
    );
    if (!isString(object)) return asList(part, kind === "list" ? undefined : kind);
    return asString(part.map(({ value }) => String(value)).join(""));
  }
}

/** Whether a node makes its value; others look up one that was paid for when it was made. */
function isNewValue(node: Statement): boolean {
  const { type, property }: { readonly type: string; readonly property?: Statement } = node;
  return type !== "Identifier" && (type !== "MemberExpression" || property?.type === "SliceExpression");
}

/** Counts what a rendering does. */
class Budget implements Limits {
  private steps = 0;

  /** @throws Error when there were too many steps. */
  spend(steps: number): void {
    this.steps += steps;
    if (this.steps > MAX_STEPS) throw new Error(`runs more than ${MAX_STEPS} steps, the limit of a template`);
  }

  checkLength(length: number): void {
    if (length > MAX_LENGTH) throw tooLong();
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

/** Parts of a template's loops. */
interface Loops {
  readonly bodies: ReadonlySet<unknown>;
  /** The expressions that loops go through. */
  readonly iterables: ReadonlySet<unknown>;
  /** Of the whole template. */
  readonly numNodes: number;
}

function loopsOf(program: Program): Loops {
  const bodies = new Set<unknown>();
  const iterables = new Set<unknown>();
  let numNodes = 0;
  const waiting: unknown[] = [program];
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    if (typeof node !== "object" || node === null) continue;
    numNodes++;
    if ("type" in node && node.type === "For" && "body" in node && "iterable" in node) {
      bodies.add(node.body);
      const { iterable: given } = node;
      const isFiltered =
        typeof given === "object" && given !== null && "type" in given && given.type === "SelectExpression";
      iterables.add(isFiltered && "lhs" in given ? given.lhs : given);
    }
    waiting.push(
      ...(node instanceof Map ? [...node].flat() : Object.values(node)).filter((value) => value !== undefined),
    );
  }
  return { bodies, iterables, numNodes };
}

/** Python's `range` within Jinja's bound. */
function rangeOf(args: readonly RuntimeValue[]): readonly number[] {
  const bounds = args.map(({ type, value }) => (type === "IntegerValue" ? value : Number.NaN));
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
