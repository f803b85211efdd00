// Word by word, where the model looked: a word that is pointed at, focused or tapped shows its map over the picture.
import { useEffect, useMemo, useRef } from "preact/hooks";
import { wordInWords, wordMap } from "../draw/word-map.ts";
import type { PictureWords, WhichAnswer } from "../protocol.ts";
import { asked, hadPicture, mapHead, running } from "../state.ts";
import { chooseWordsOf, lookForWords, wordsLayer } from "../talk.ts";
import { chatTurns, chosenWord, words, wordsOf } from "../talk-state.ts";
import { Panel, Select } from "./controls.tsx";
import { MapCanvas } from "./map-canvas.tsx";
import { StudyRow } from "./study-row.tsx";

/** The panel of words; nothing for a question without a picture. */
export function WordsPanel() {
  const answers = asked.value?.answers;
  if (answers === undefined || !hadPicture.value) return null;
  const which = wordsOf.value;
  const text = typeof which === "number" ? chatTurns.value[which]?.answer.text : answers[which].text;
  const known = words.value?.of === which && words.value.view.layer === wordsLayer() ? words.value.view : undefined;
  const shown = known?.words.map(({ word }) => word) ?? (text ?? "").split(/\s+/).filter((word) => word !== "");
  const index = Math.min(chosenWord.value, shown.length - 1);
  const choices = [
    { value: "greedy", label: "Greedy" },
    { value: "adaptvis", label: "AdaptVis" },
    ...chatTurns.value.map(({ question }, turn) => ({ value: String(turn), label: `${turn + 1}. ${question}` })),
  ];
  const word = known?.words[index];
  return (
    <Panel
      id="words"
      title="Word by word"
      lead="Point at a word, tap it, or go to it with the arrow keys to see where in the picture the model looked when it wrote that word."
    >
      <Select
        label="Words of which answer"
        choices={choices}
        value={String(which)}
        onChange={(value) => chooseWordsOf(choiceOf(value))}
      />
      {shown.length === 0 && <p class="hint">The model ended its answer without a word.</p>}
      <WordLine texts={shown} chosen={index} />
      {known === undefined && shown.length > 0 && (
        <StudyRow of="words" label="Show where it looked" onStart={() => void lookForWords()} />
      )}
      {word !== undefined && (
        <div class="word-maps">
          {known?.pictures.map((picture, number) => (
            <WordFigure
              key={number}
              word={word}
              picture={picture}
              name={known.pictures.length > 1 ? `Picture ${number + 1}: ` : ""}
            />
          ))}
        </div>
      )}
      {known !== undefined && (
        <p class="hint">
          Layer {known.layer}, {mapHead.value === undefined ? "mean of all heads" : `head ${mapHead.value}`}; choose
          others under “Where it looked”. Each map’s brightest colour is its own brightest patch.
        </p>
      )}
    </Panel>
  );
}

function choiceOf(value: string): WhichAnswer {
  return value === "greedy" || value === "adaptvis" ? value : Number(value);
}

/** The words as buttons, of which one is in the order of Tab; arrow keys go on from there. */
function WordLine({ texts, chosen }: { readonly texts: readonly string[]; readonly chosen: number }) {
  const line = useRef<HTMLOListElement>(null);
  const choose = (index: number) => {
    chosenWord.value = index;
    if (running.value === undefined) void lookForWords();
  };
  const goTo = (index: number) => line.current?.querySelectorAll("button")[index]?.focus();
  return (
    <ol
      class="word-line"
      aria-label="Words of the answer"
      ref={line}
      onKeyDown={(event) => {
        const last = texts.length - 1;
        const targets: Readonly<Record<string, number>> = {
          ArrowRight: Math.min(chosen + 1, last),
          ArrowLeft: Math.max(chosen - 1, 0),
          Home: 0,
          End: last,
        };
        const target = targets[event.key];
        if (target === undefined) return;
        event.preventDefault();
        goTo(target);
      }}
    >
      {texts.map((text, index) => (
        <li key={index}>
          <button
            type="button"
            class="word"
            tabIndex={index === chosen ? 0 : -1}
            aria-pressed={index === chosen}
            onPointerEnter={(event) => event.pointerType === "mouse" && choose(index)}
            onFocus={(event) => event.currentTarget.matches(":focus-visible") && choose(index)}
            onClick={() => choose(index)}
          >
            {text}
          </button>
        </li>
      ))}
    </ol>
  );
}

function WordFigure(props: {
  readonly word: { readonly word: string; readonly tokens: readonly number[] };
  readonly picture: PictureWords;
  readonly name: string;
}) {
  const { word, picture, name } = props;
  const head = mapHead.value;
  const map = useMemo(() => wordMap(picture.tokens, word, head), [picture, word, head]);
  const told = `${name}${wordInWords(word.word, map)}`;
  const status = useRef<HTMLElement>(null);
  useEffect(() => {
    // Written after the element is there, so that screen readers tell the first word too.
    if (status.current !== null) status.current.textContent = told;
  }, [told]);
  return (
    <figure class="map">
      <MapCanvas picture={picture.picture} map={map} label={`Heat map of ${told}`} />
      <figcaption>
        <span role="status" ref={status} />
      </figcaption>
    </figure>
  );
}
