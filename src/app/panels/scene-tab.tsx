// The scene with what can be done to it: the chosen object's buttons, more objects, the background.

import { edit, flip, grow, remove, toBack, toFront } from "../draw/scene-edits.ts";
import { describeScene } from "../scene/describe.ts";
import { OBJECT_NAMES, type ObjectName } from "../scene/objects.ts";
import { addObject, BACKGROUNDS, DEFAULT_SCENE, MAX_OBJECTS, withBackground } from "../scene/scene.ts";
import { spriteUrl } from "../scene/sprites.ts";
import { announcement, scene, selected } from "../state.ts";
import { Select } from "./controls.tsx";
import { SceneStage } from "./scene-stage.tsx";

/** The tab for the scene. */
export function SceneTab() {
  return (
    <>
      <SceneStage />
      <Chosen />
      <p class="hint" id="scene-keys">
        Drag the objects.{" "}
        <span class="for-keys">
          By keyboard: Tab to an object, arrows move it, <kbd>+</kbd> <kbd>−</kbd> size, <kbd>F</kbd> flips,{" "}
          <kbd>Page Up</kbd> <kbd>Page Down</kbd> front and back, <kbd>Delete</kbd> removes.
        </span>
      </p>
      <Palette />
      <div class="row end">
        <Select
          label="Background"
          choices={BACKGROUNDS.map((value) => ({ value, label: value }))}
          value={scene.value.background}
          onChange={(background) => {
            scene.value = withBackground(scene.value, background);
          }}
        />
        <button
          type="button"
          onClick={() => {
            scene.value = DEFAULT_SCENE;
            selected.value = 0;
            announcement.value = `The scene is as at the start. ${describeScene(DEFAULT_SCENE)}`;
          }}
        >
          Reset
        </button>
      </div>
    </>
  );
}

/** Buttons for the object that was touched last, for those who have no keyboard. */
function Chosen() {
  const index = selected.value;
  const object = scene.value.objects[index];
  if (object === undefined) return <p class="hint">The scene is empty: add an object.</p>;
  const { name } = object;
  return (
    <fieldset class="chosen">
      <legend class="label">
        Chosen: <strong>{name}</strong>
      </legend>
      <div class="chosen-buttons">
        <button type="button" onClick={() => edit(grow(false), index)} aria-label="Smaller" title="Smaller">
          −
        </button>
        <button type="button" onClick={() => edit(grow(true), index)} aria-label="Larger" title="Larger">
          +
        </button>
        <button type="button" onClick={() => edit(flip, index)}>
          Flip
        </button>
        <button type="button" onClick={() => edit(toFront, index)} title="Over all others">
          Front
        </button>
        <button type="button" onClick={() => edit(toBack, index)} title="Under all others">
          Back
        </button>
        <button type="button" onClick={() => edit(remove, index)}>
          Remove
        </button>
      </div>
    </fieldset>
  );
}

function Palette() {
  const isFull = scene.value.objects.length >= MAX_OBJECTS;
  const add = (name: ObjectName) => {
    scene.value = addObject(scene.value, name);
    selected.value = scene.value.objects.length - 1;
    announcement.value = `${name} added.`;
  };
  return (
    <details>
      <summary>Add an object</summary>
      {isFull && <p class="hint">The scene holds {MAX_OBJECTS} objects; remove one first.</p>}
      <div class="palette">
        {OBJECT_NAMES.map((name) => (
          <button key={name} type="button" disabled={isFull} onClick={() => add(name)} aria-label={`Add ${name}`}>
            <img src={spriteUrl(name)} alt="" width="36" height="36" loading="lazy" />
            {name}
          </button>
        ))}
      </div>
    </details>
  );
}
