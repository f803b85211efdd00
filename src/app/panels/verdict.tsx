// One sentence about the two answers, below their cards.

import { askedScene } from "../asking.ts";
import { verdictOf } from "../draw/verdict-words.ts";
import { rightAnswer } from "../scene/truth.ts";
import { asked, hadPicture } from "../state.ts";

/** The sentence; nothing for a question without a picture. */
export function Verdict() {
  const done = asked.value;
  if (done === undefined || !hadPicture.value) return null;
  const about = askedScene.value?.asked === done ? askedScene.value.scene : undefined;
  return <p class="verdict">{verdictOf(done.answers, about && rightAnswer(about, done.question))}</p>;
}
