// Forms for the questions that the embedded checkpoints were trained on, worded as in tools/train-tiny/questions.py.

/** A form: a question about none, one or two of the objects. */
export interface QuestionForm {
  readonly id: "side" | "depth" | "place" | "inventory";
  /** Label in a menu. */
  readonly label: string;
  readonly numObjects: 0 | 1 | 2;
  /** The answers that it names. */
  readonly options: readonly string[];
}

/** All forms. */
export const QUESTION_FORMS: readonly QuestionForm[] = [
  { id: "side", label: "Beside, on or under?", numObjects: 2, options: ["left", "right", "on", "under"] },
  { id: "depth", label: "Beside, in front or behind?", numObjects: 2, options: ["left", "right", "front", "behind"] },
  { id: "place", label: "Where in the photo?", numObjects: 1, options: ["left", "right", "top", "bottom"] },
  { id: "inventory", label: "What is there?", numObjects: 0, options: [] },
];

/**
 * The question of a filled form.
 * @param names the form's objects; missing ones become "object"
 */
export function fillIn(form: QuestionForm, names: readonly string[]): string {
  const [first = "object", second = "object"] = names;
  switch (form.id) {
    case "side":
    case "depth":
      return `Where is the ${first} in relation to the ${second}? ${answerWith(form.options)}`;
    case "place":
      return `Where is the ${first} in the photo? ${answerWith(form.options)}`;
    case "inventory":
      return "What is in the picture?";
  }
}

/** The form and objects of a question; undefined if no form produces it. */
export function readForm(
  question: string,
): { readonly form: QuestionForm; readonly names: readonly string[] } | undefined {
  const [, first, , second] = /^Where is the (\w+) in (the photo|relation to the (\w+))\?/.exec(question) ?? [];
  const names = [first, second].filter((name) => name !== undefined);
  const form = QUESTION_FORMS.find((candidate) => fillIn(candidate, names) === question);
  return form && { form, names: names.slice(0, form.numObjects) };
}

function answerWith(options: readonly string[]): string {
  return `Answer with ${options.slice(0, -1).join(", ")} or ${options.at(-1)}.`;
}
