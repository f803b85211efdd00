// An intervention of a caller's: what it consists of is checked before it runs, and what its functions return before it is used.
import {
  callback,
  data,
  flag,
  floats,
  listOf,
  objectOf,
  oneOf,
  type Rule,
  read,
  recordOf,
  required,
  rule,
  type Schema,
  text,
  whole,
} from "../options.ts";
import type { ConfidenceMeasure, Contrast, Edits, Intervention, ScoreEdit } from "./intervention.ts";
import type { ParameterKind } from "./parameters.ts";

const anyNumber = rule("a number", (value) => typeof value === "number" && !Number.isNaN(value));
const indices = listOf(whole(0), "a list of whole numbers");
/** The model's layers are known only when it answers. */
const layerList = listOf(anyNumber, "a list of layers");
const run = listOf(anyNumber, "[start, end]", 2);

const measure = oneOf(["probability", "margin", "entropy", "logit"] satisfies ConfidenceMeasure[]);

/** What each kind of parameter has beside its name. */
const KINDS: Readonly<Record<ParameterKind["kind"], Readonly<Record<string, Rule>>>> = {
  number: { minimum: required(anyNumber), maximum: required(anyNumber), isWhole: flag },
  choice: { choices: required(listOf(text, "a list of texts", 1)) },
  indices: { of: required(oneOf(["layers", "heads", "patches", "dimensions"])) },
  columns: {},
  rows: {},
  box: {},
  strengths: {},
};

const parameterType: Rule = {
  expected: "the type of a parameter, as number() makes it",
  read: (value, name) => {
    const members = { kind: required(oneOf(Object.keys(KINDS))) };
    const { kind } = objectOf(parameterType.expected, members).read(value, name) as ParameterKind; // one of the names
    return objectOf(parameterType.expected, { ...members, ...KINDS[kind] }).read(value, name);
  },
};

const EDIT: Schema<ScoreEdit> = {
  operation: required(
    oneOf([
      "multiply",
      "add",
      "add-magnitude",
      "knock-out",
      "temperature",
      "redistribute",
    ] satisfies ScoreEdit["operation"][]),
  ),
  strength: required({
    expected: "a number or a Float32Array",
    read: (value, name) => (typeof value === "number" ? anyNumber : floats).read(value, name),
  }),
  layers: indices,
  heads: indices,
  columns: required(listOf(run, "a list of [start, end]")),
  rows: required(run),
  sinks: objectOf("a rule for attention sinks", {
    dimensions: required(indices),
    tau: required(anyNumber),
    rho: required(anyNumber),
    minimumShare: required(anyNumber),
  }),
};

const edits = objectOf<Edits>("{ scores, factor }", {
  scores: required(listOf(objectOf("an edit of scores", EDIT), "a list of edits")),
  factor: required(anyNumber),
});

const contrastParts = objectOf<Record<"against" | "combine" | "changed" | "layers" | "isNormalised", unknown>>(
  "a contrast",
  {
    against: required(oneOf(["no-picture", "changed-picture", "early-layers"] satisfies Contrast["against"][])),
    combine: required(callback),
    changed: callback,
    layers: layerList,
    isNormalised: flag,
  },
);

const method = objectOf<Pick<Intervention, "name" | "title" | "summary" | "source" | "parameters">>(
  "a method's name or an intervention, as defineIntervention returns it",
  {
    name: required(text),
    title: text,
    summary: text,
    source: text,
    parameters: required(
      recordOf(
        "an object of parameters",
        objectOf("a parameter, as number() makes it", { type: required(parameterType), default: data, meaning: text }),
      ),
    ),
  },
);

/**
 * An intervention of a caller's that checks what it returns; errors that its functions throw are left as they are.
 * @throws InputError for a part that is missing or of another kind.
 */
export function ownIntervention(given: Intervention): Intervention {
  const own = read("method", given, method) as Intervention; // all but its functions, which follow
  const functions = objectOf<Pick<Intervention, "edits" | "reads" | "contrast">>("an intervention", {
    edits: required(callback),
    reads: callback,
    contrast: callback,
  });
  const { reads, contrast } = read("method", given, functions) as Intervention; // checked by the rule
  return {
    ...own,
    ...(reads && {
      reads: (settings) => read("method.reads(…)", given.reads?.(settings), measure) as ConfidenceMeasure,
    }),
    edits: (...args) => read("method.edits(…)", given.edits(...args), edits) as Edits,
    ...(contrast && {
      contrast: (...args) => {
        const made = given.contrast?.(...args);
        return made && ownContrast(read("method.contrast(…)", made, contrastParts) as Contrast);
      },
    }),
  };
}

function ownContrast(contrast: Contrast): Contrast {
  if (contrast.against === "no-picture") return contrast;
  if (contrast.against === "early-layers") {
    read("contrast.layers", contrast.layers, layerList);
    return contrast;
  }
  const { changed } = contrast;
  read("contrast.changed", changed, callback);
  return {
    ...contrast,
    changed: (...args) => read("contrast.changed(…)", changed(...args), floats) as Float32Array<ArrayBuffer>,
  };
}
