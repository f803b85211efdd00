// In place of json-constraint.ts in dist/browser.js, which pages load whole: they do not pay for what few of them use.
import { InputError } from "../../errors.ts";

/** @throws InputError always. */
export function answerConstraint(): never {
  throw new InputError(
    "jsonSchema is not part of dist/browser.js: import adaptvis through a bundler, which loads it when it is used.",
  );
}
