// Says that what is shown was recorded, and by what.

import { recorded } from "../recorded.ts";
import { describeScene } from "../scene/scene.ts";

/** The note above recorded answers; nothing otherwise. */
export function RecordedNote() {
  const example = recorded.value;
  if (example === undefined) return null;
  return (
    <section class="panel recorded-note" aria-labelledby="recorded-heading">
      <h2 id="recorded-heading" tabIndex={-1}>
        A recorded example
      </h2>
      <p>
        This browser cannot run the model now, so the answers and maps below are those that {example.model} gave when
        they were recorded, on {example.adapter}. The picture: {describeScene(example.scene)}
      </p>
    </section>
  );
}
