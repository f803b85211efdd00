// The scene: its canvas, with one button per object to drag or move by keys, and the controls that edit it.

import { useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { readySprites } from "../asking.ts";
import { applyKey, edit, flip, grow, labelled, moveTo, remove, toBack, toFront } from "../draw/scene-edits.ts";
import { paintScene, spriteUrl } from "../scene/paint.ts";
import {
  addObject,
  BACKGROUNDS,
  boxOf,
  DEFAULT_SCENE,
  describePlace,
  describeScene,
  MAX_OBJECTS,
  OBJECT_NAMES,
  type ObjectName,
  type SceneObject,
  withBackground,
} from "../scene/scene.ts";
import { announcement, notify, scene, selected, sprites } from "../state.ts";
import { Select } from "./controls.tsx";

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
            announcement.value = `The scene was reset. ${describeScene(DEFAULT_SCENE)}`;
          }}
        >
          Reset
        </button>
      </div>
    </>
  );
}

/** Buttons for the selected object, for use without a keyboard. */
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
        <button type="button" onClick={() => edit(toFront, index)} title="In front of all others">
          Front
        </button>
        <button type="button" onClick={() => edit(toBack, index)} title="Behind all others">
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
      {isFull && <p class="hint">The scene has the maximum of {MAX_OBJECTS} objects; remove one first.</p>}
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

/** The canvas with its objects. */
export function SceneStage() {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    readySprites().catch(() => {
      const message = "The objects’ pictures could not be fetched; reload the page when you are online.";
      notify("The objects are missing", { kind: "input", message });
    });
    const observer = new ResizeObserver(() => paint(canvas.current));
    if (canvas.current !== null) observer.observe(canvas.current);
    return () => observer.disconnect();
  }, []);
  useSignalEffect(() => {
    // Reading both signals here repaints when they change.
    if (scene.value !== undefined && sprites.value !== undefined) paint(canvas.current);
  });
  return (
    <section class="stage" aria-label="Scene" aria-describedby="scene-keys">
      <canvas ref={canvas} role="img" aria-label={describeScene(scene.value)} />
      {labelled(scene.value.objects).map(({ key, object, index }) => (
        <Handle key={key} object={object} index={index} />
      ))}
    </section>
  );
}

function paint(canvas: HTMLCanvasElement | null): void {
  const painter = canvas?.getContext("2d");
  if (canvas === null || !painter || sprites.peek() === undefined) return;
  const side = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
  if (canvas.width !== side) {
    canvas.width = side;
    canvas.height = side;
  }
  paintScene(painter, scene.peek(), { sprites: sprites.peek() ?? new Map(), side });
}

function focusChosen(stage: HTMLElement | null): void {
  stage?.querySelector<HTMLElement>('[aria-pressed="true"]')?.focus();
}

function Handle({ object, index }: { readonly object: SceneObject; readonly index: number }) {
  /** Offset from the object's centre to the point where the pointer grabbed it, as shares of the side. */
  const hold = useRef<{ readonly x: number; readonly y: number } | undefined>(undefined);
  const box = boxOf(object);
  const share = (value: number) => `${(value * 100).toFixed(3)}%`;
  const pointAt = (event: PointerEvent & { readonly currentTarget: HTMLElement }) => {
    const stage = event.currentTarget.parentElement?.getBoundingClientRect();
    if (stage === undefined) return { x: 0, y: 0 };
    return { x: (event.clientX - stage.left) / stage.width, y: (event.clientY - stage.top) / stage.height };
  };
  return (
    <button
      type="button"
      class="handle"
      style={{
        left: share(box.left),
        top: share(box.top),
        width: share(box.width),
        height: share(box.height),
        zIndex: index + 1,
      }}
      aria-label={`${object.name}, ${describePlace(scene.value, index)}`}
      aria-pressed={index === selected.value}
      onFocus={() => {
        selected.value = index;
      }}
      onKeyDown={(event) => {
        const change = applyKey(event.key, event.shiftKey);
        if (change === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        edit(change, index);
        // Removing the object also removes the focus.
        const stage = event.currentTarget.parentElement;
        if (change === remove) requestAnimationFrame(() => focusChosen(stage));
      }}
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        selected.value = index;
        event.currentTarget.setPointerCapture(event.pointerId);
        const { x, y } = pointAt(event);
        hold.current = { x: x - object.x, y: y - object.y };
      }}
      onPointerMove={(event) => {
        if (hold.current === undefined) return;
        const { x, y } = pointAt(event);
        edit(moveTo(x - hold.current.x, y - hold.current.y), index);
      }}
      onLostPointerCapture={() => {
        hold.current = undefined;
      }}
    />
  );
}
