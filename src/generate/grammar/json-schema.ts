// JSON schemas as grammars of the JSON that they allow, on one line, with the separators of Python's json.dumps. The grammar may allow less
// than the schema (properties come in their order, and no further ones beside those that are named), never more: a keyword that it
// cannot keep is refused.
// Source: JSON Schema 2020-12, Core and Validation.
import { described, InputError, isObject, reasonOf, shown } from "../../errors.ts";
import {
  choice,
  type Expression,
  type Grammar,
  leftRecursion,
  literal,
  optional,
  repeat,
  rule,
  sequence,
} from "./grammar.ts";
import {
  ANY_STRING,
  BOOLEAN,
  countsOf,
  KEYWORDS,
  NULL,
  numberOf,
  QUOTE,
  type SchemaObject,
  stringOf,
  typesOf,
  valueIn,
  wrong,
} from "./json-values.ts";

/** A JSON schema: `true` and `{}` allow any JSON. */
export type JsonSchema = boolean | Readonly<Record<string, unknown>>;

/** Characters of a schema as JSON. */
const MAX_LENGTH = 65_536;

/** Schemas within a schema, each as often as it is written, and the depth of their nesting. */
const MAX_SCHEMAS = 2000;
const MAX_DEPTH = 64;

/** Keywords that assert something and that no grammar here keeps. */
const UNSUPPORTED = [
  ...["not", "if", "then", "else", "contains", "minContains", "maxContains", "multipleOf", "patternProperties"],
  ...["propertyNames", "dependentRequired", "dependentSchemas", "dependencies", "additionalItems", "$dynamicRef"],
  ...["$recursiveRef", "unevaluatedProperties", "unevaluatedItems"],
];

const COMMA = literal(", ");
const COLON = literal(": ");

/** Keywords that assert something, those that choose the values left out. */
const ASSERTING = ["type", ...Object.values(KEYWORDS).flat()];

/** Keywords that choose the values, alone but for annotations. */
const CHOOSING = ["$ref", "anyOf", "oneOf", "allOf", "enum", "const"];

/** A caller's schema, as a copy. @throws InputError for what is no JSON schema, cannot be read, or is too long. */
export function checkedSchema(given: unknown): JsonSchema {
  const expected = "jsonSchema must be a JSON schema (an object, or true)";
  const fits = (value: unknown): value is JsonSchema =>
    value === true || value === false || (isObject(value) && !Array.isArray(value));
  if (!fits(given)) throw new InputError(`${expected}, got ${described(given)}.`);
  let json: string;
  try {
    json = JSON.stringify(given);
  } catch (cause) {
    throw new InputError(`${expected}, but reading it failed (${reasonOf(cause)}).`, { cause });
  }
  if (json.length > MAX_LENGTH) {
    throw new InputError(`jsonSchema must have at most ${MAX_LENGTH} characters of JSON, got ${json.length}.`);
  }
  const copy: unknown = JSON.parse(json);
  if (fits(copy)) return copy;
  throw new InputError(`${expected}, got ${described(copy)}.`); // of its toJSON
}

/**
 * The grammar of a schema.
 * @throws InputError that names the place in the schema and what is not supported or cannot be.
 */
export function jsonSchemaGrammar(schema: JsonSchema): Grammar {
  return new SchemaReader(schema).read();
}

/** Where a schema is: its path for messages, and how deep. */
interface Where {
  readonly path: string;
  readonly depth: number;
}

class SchemaReader {
  private readonly root: JsonSchema;
  private readonly rules = new Map<string, Expression>();
  private numSchemas = 0;

  constructor(root: JsonSchema) {
    this.root = root;
  }

  read(): Grammar {
    const at: Where = { path: "the schema", depth: 0 };
    this.rules.set("root", this.reference("#", at));
    const grammar = { rules: this.rules, root: "root" };
    const looping = leftRecursion(grammar);
    if (looping !== undefined)
      throw wrong("the schema", `refers to itself without an end by its ${looping.slice(0, 80)}`);
    return grammar;
  }

  private schema(schema: unknown, at: Where): Expression {
    const { path } = at;
    this.numSchemas++;
    if (this.numSchemas > MAX_SCHEMAS) throw wrong("the schema", `has more than ${MAX_SCHEMAS} schemas within it`);
    if (at.depth > MAX_DEPTH) throw wrong(path, `is nested more than ${MAX_DEPTH} levels deep`);
    if (schema === true) return this.any();
    if (schema === false) throw wrong(path, "is false, which allows nothing");
    if (!isObject(schema) || Array.isArray(schema)) throw wrong(path, `must be a schema, got ${shown(schema)}`);
    const unsupported =
      UNSUPPORTED.find((name) => schema[name] !== undefined) ?? (schema.uniqueItems === true && "uniqueItems");
    if (unsupported) throw wrong(path, `uses ${unsupported}, which is not supported`);
    const [choosing, another] = CHOOSING.filter((name) => schema[name] !== undefined);
    if (choosing === undefined) return this.typed(schema, at);
    const isTyped = choosing === "enum" || choosing === "const";
    const beside = another ?? ASSERTING.find((name) => schema[name] !== undefined && !(isTyped && name === "type"));
    if (beside !== undefined) throw wrong(path, `has ${beside} beside ${choosing}, which is not supported`);
    return this.chosen(choosing, schema, at);
  }

  private chosen(keyword: string, schema: SchemaObject, at: Where): Expression {
    const { path } = at;
    const value = schema[keyword];
    if (keyword === "$ref") {
      if (typeof value === "string" && /^#(\/|$)/.test(value)) return this.reference(value, at);
      throw wrong(
        path,
        `has the $ref ${shown(value)}: only those within the schema, such as #/$defs/NAME, are supported`,
      );
    }
    if (keyword === "const") return valueIn([value], schema.type, path);
    if (!Array.isArray(value) || value.length === 0) {
      throw wrong(path, `must have a list in ${keyword}, got ${shown(value)}`);
    }
    if (keyword === "enum") return valueIn(value, schema.type, path);
    if (keyword === "allOf" && value.length > 1) {
      throw wrong(path, "has several schemas in allOf, which is not supported: merge them into one");
    }
    if (keyword === "oneOf" && !areDisjoint(value.map((one) => this.resolved(one)))) {
      const advice = "use anyOf, or give each a required property with another const";
      throw wrong(path, `uses oneOf with schemas that could both fit: ${advice}`);
    }
    return choice(value.map((one: unknown, index) => this.schema(one, within(at, `${keyword}[${index}]`))));
  }

  /** The schema behind references. */
  private resolved(schema: unknown): unknown {
    let found = schema;
    for (let step = 0; step < MAX_DEPTH && isObject(found) && typeof found.$ref === "string"; step++) {
      found = this.target(found.$ref, "the schema");
    }
    return found;
  }

  private reference(pointer: string, at: Where): Expression {
    const target = this.target(pointer, at.path);
    const name = `$ref ${pointer}`;
    if (!this.rules.has(name)) {
      this.rules.set(name, choice([])); // a schema that refers to itself finds the name taken
      this.rules.set(name, this.schema(target, { path: pointer === "#" ? "the schema" : pointer, depth: 0 }));
    }
    return rule(name);
  }

  private target(pointer: string, path: string): unknown {
    let target: unknown = this.root;
    for (const step of pointer.split("/").slice(1)) {
      const name = decoded(step).replaceAll("~1", "/").replaceAll("~0", "~");
      const has = (isObject(target) || Array.isArray(target)) && Object.hasOwn(target, name);
      if (!has) throw wrong(path, `has the $ref ${shown(pointer)}, which does not exist in the schema`);
      target = Reflect.get(Object(target), name);
    }
    return target;
  }

  private typed(schema: SchemaObject, at: Where): Expression {
    const types = schema.type === undefined ? impliedTypes(schema) : typesOf(schema.type, at.path);
    return types === undefined ? this.any() : choice(types.map((type) => this.ofType(type, schema, at)));
  }

  private ofType(type: string, schema: SchemaObject, at: Where): Expression {
    const keywords: readonly string[] = KEYWORDS[type === "integer" ? "number" : (type as keyof typeof KEYWORDS)] ?? [];
    const isPlain = keywords.every((name) => schema[name] === undefined);
    if (isPlain && (type === "string" || type === "integer" || type === "number")) return this.plain(type);
    switch (type) {
      case "string":
        return sequence(QUOTE, stringOf(schema, at.path), QUOTE);
      case "integer":
      case "number":
        return numberOf(type, schema, at.path);
      case "boolean":
        return BOOLEAN;
      case "null":
        return NULL;
      case "array":
        return this.arrayOf(schema, at);
      default:
        return this.objectOf(schema, at);
    }
  }

  /** Any value of a type, a rule that is built once. */
  private plain(type: "string" | "integer" | "number"): Expression {
    if (!this.rules.has(type)) this.rules.set(type, type === "string" ? ANY_STRING : numberOf(type, {}, ""));
    return rule(type);
  }

  private arrayOf(schema: SchemaObject, at: Where): Expression {
    const { path } = at;
    const { prefixItems = [], items } = schema;
    if (!Array.isArray(prefixItems)) throw wrong(path, `must have a list in prefixItems, got ${shown(prefixItems)}`);
    if (Array.isArray(items)) throw wrong(path, "has a list in items: use prefixItems");
    const { least, most = Number.POSITIVE_INFINITY } = countsOf(schema, ["minItems", "maxItems"], path);
    const first = prefixItems
      .slice(0, most)
      .map((item: unknown, index) => this.schema(item, within(at, `prefixItems[${index}]`)));
    const numFirst = first.length;
    const isClosed = items === false || most === numFirst || (items === undefined && numFirst > 0 && least <= numFirst);
    if (isClosed) {
      if (least > numFirst) throw wrong(path, `must have ${least} items, but allows only ${numFirst}`);
      return sequence(literal("["), ...separated(first), literal("]"));
    }
    const item = this.schema(items ?? true, within(at, "items"));
    const more = sequence(COMMA, item);
    const [leastMore, mostMore] = [Math.max(0, least - numFirst), Number.isFinite(most) ? most - numFirst : undefined];
    if (numFirst > 0) {
      return sequence(literal("["), ...separated(first), repeat(more, leastMore, mostMore), literal("]"));
    }
    const some = sequence(item, repeat(more, Math.max(0, leastMore - 1), mostMore && mostMore - 1));
    return sequence(literal("["), least === 0 ? optional(some) : some, literal("]"));
  }

  private objectOf(schema: SchemaObject, at: Where): Expression {
    const { path } = at;
    const { properties = {}, required = [], additionalProperties = true } = schema;
    if (!isObject(properties) || Array.isArray(properties)) {
      throw wrong(path, `must have an object in properties, got ${shown(properties)}`);
    }
    if (!Array.isArray(required) || !required.every((name): name is string => typeof name === "string")) {
      throw wrong(path, `must have a list of texts in required, got ${shown(required)}`);
    }
    const { least, most } = countsOf(schema, ["minProperties", "maxProperties"], path);
    const unnamed = [...new Set(required)].filter((name) => !Object.hasOwn(properties, name));
    const named = [
      ...Object.entries(properties),
      ...unnamed.map((name): [string, unknown] => [name, additionalProperties]),
    ];
    const impossible = named.find(([name, property]) => property === false && required.includes(name));
    if (impossible !== undefined)
      throw wrong(path, `requires the property ${shown(impossible[0])}, but does not allow it`);
    const kept = named.filter(([, property]) => property !== false);
    if (named.length === 0 && additionalProperties !== false)
      return this.mapOf(additionalProperties, { least, most }, at);
    const numRequired = kept.filter(([name]) => required.includes(name)).length;
    if (least > numRequired || (most !== undefined && most < kept.length)) {
      throw wrong(path, "has minProperties or maxProperties beside properties, which is not supported: use required");
    }
    const written = kept.map(([name, property]) => ({
      isRequired: required.includes(name),
      pair: sequence(
        literal(`${JSON.stringify(name)}: `),
        this.schema(property, within(at, `properties.${name.slice(0, 40)}`)),
      ),
    }));
    return sequence(literal("{"), this.inOrder(written), literal("}"));
  }

  /** Properties in their order; those that are not required may be left out. */
  private inOrder(properties: readonly { readonly isRequired: boolean; readonly pair: Expression }[]): Expression {
    // From the last one to the first: what may follow where a property was written already, and where none was.
    let [after, start] = [sequence(), sequence()];
    for (const { isRequired, pair } of [...properties].reverse()) {
      const [next, alone] = [sequence(COMMA, pair, after), sequence(pair, after)];
      start = isRequired ? alone : choice([alone, start]);
      after = this.shared(isRequired ? next : choice([next, after]));
    }
    return start;
  }

  /** A rule for an expression, so that it is built once however often it is used. */
  private shared(expression: Expression): Expression {
    const name = `${this.rules.size}`;
    this.rules.set(name, expression);
    return rule(name);
  }

  /** An object whose properties have any names. */
  private mapOf(
    value: unknown,
    { least, most }: { readonly least: number; readonly most: number | undefined },
    at: Where,
  ): Expression {
    // A name may come twice, which is one property.
    if (least > 1) throw wrong(at.path, "has a minProperties above 1, which is not supported: name the properties");
    if (most === 0) return literal("{}");
    const pair = sequence(this.plain("string"), COLON, this.schema(value, within(at, "additionalProperties")));
    const some = sequence(pair, repeat(sequence(COMMA, pair), 0, most && most - 1));
    return sequence(literal("{"), least === 0 ? optional(some) : some, literal("}"));
  }

  private any(): Expression {
    const [value, name] = [rule("any"), "any"];
    if (!this.rules.has(name)) {
      const list = (item: Expression) => optional(sequence(item, repeat(sequence(COMMA, item), 0)));
      const array = sequence(literal("["), list(value), literal("]"));
      const object = sequence(literal("{"), list(sequence(this.plain("string"), COLON, value)), literal("}"));
      this.rules.set(name, choice([this.plain("string"), this.plain("number"), BOOLEAN, NULL, array, object]));
    }
    return value;
  }
}

function separated(items: readonly Expression[]): readonly Expression[] {
  return items.flatMap((item, index) => (index === 0 ? [item] : [COMMA, item]));
}

function within({ path, depth }: Where, step: string): Where {
  return { path: `${path === "the schema" ? "" : `${path}.`}${step}`, depth: depth + 1 };
}

/** The type that the keywords are about; undefined without any. */
function impliedTypes(schema: SchemaObject): readonly string[] | undefined {
  const implied = Object.entries(KEYWORDS).find(([, names]) => names.some((name) => schema[name] !== undefined));
  return implied && [implied[0]];
}

/** Whether no value fits two of the schemas: their types differ, or a property that each requires has another constant. */
function areDisjoint(schemas: readonly unknown[]): boolean {
  return schemas.every((one, index) => schemas.slice(index + 1).every((other) => differ(one, other)));
}

function differ(one: unknown, other: unknown): boolean {
  if (!isObject(one) || !isObject(other)) return false;
  const [types, others] = [one, other].map(({ type }) => (Array.isArray(type) ? type : [type]));
  const clashes = (a: unknown, b: unknown) => a === b || a === undefined || b === undefined || isNumeric(a, b);
  if (types?.every((type) => others?.every((second) => !clashes(type, second)))) return true;
  if (!isObject(one.properties) || !isObject(other.properties)) return false;
  const isRequired = (name: string) =>
    [one, other].every(({ required }) => Array.isArray(required) && required.includes(name));
  const constant = (property: unknown) => (isObject(property) ? (property.const ?? onlyOf(property.enum)) : undefined);
  return Object.entries(one.properties).some(([name, property]) => {
    const [first, second] = [constant(property), constant(Object(other.properties)[name])];
    const areScalars = [first, second].every(
      (value) => value !== undefined && (typeof value !== "object" || value === null),
    );
    return isRequired(name) && areScalars && first !== second;
  });
}

function isNumeric(a: unknown, b: unknown): boolean {
  return [a, b].every((type) => type === "number" || type === "integer");
}

function onlyOf(values: unknown): unknown {
  return Array.isArray(values) && values.length === 1 ? values[0] : undefined;
}

function decoded(step: string): string {
  try {
    return decodeURIComponent(step);
  } catch {
    return step; // a name with a percent sign
  }
}
