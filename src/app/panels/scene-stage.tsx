// The scene's canvas, and over it one button an object, to drag by pointer and to move by keys.

import { useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { readySprites } from "../asking.ts";
import { applyKey, edit, labelled, moveTo, remove } from "../draw/scene-edits.ts";
import { describePlace, describeScene } from "../scene/describe.ts";
import { paintScene } from "../scene/paint.ts";
import { boxOf, type SceneObject } from "../scene/scene.ts";
import { notify, scene, selected, sprites } from "../state.ts";

/** The canvas with its objects. */
export function SceneStage() {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    readySprites().catch(() => {
      const message = "Their pictures could not be fetched; reload the page when you are online.";
      notify("The objects are missing", { kind: "input", message });
    });
    const observer = new ResizeObserver(() => paint(canvas.current));
    if (canvas.current !== null) observer.observe(canvas.current);
    return () => observer.disconnect();
  }, []);
  useSignalEffect(() => {
    // Both are read here, so that their changes paint again.
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
  /** From the object's centre to where the pointer took hold of it, as shares of the side. */
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
        // A removed object takes the focus with it.
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
