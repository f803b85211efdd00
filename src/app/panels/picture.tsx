// The picture to ask about: a scene of household objects, or the user's own picture, chosen, photographed, or dropped or pasted
// anywhere on the page.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { putPicture } from "../draw/attention-view.ts";
import { DEMO_URL, type DemoPicture, demoPictures } from "../embedded.ts";
import { fetchPicture, openDropped, openPasted, openPicture } from "../own-files.ts";
import { freeText, isEmbedded, model, type OwnPicture, ownPicture, pictureMode, questionMode } from "../state.ts";
import { FileButton, Panel, Segmented } from "./controls.tsx";
import { deferred } from "./deferred.tsx";
import { SceneTab } from "./scene-tab.tsx";

const Camera = deferred(async () => (await import("./camera.tsx")).Camera);

/** The picture panel. */
export function PicturePanel() {
  return (
    <Panel id="picture" title="Picture">
      <Segmented
        legend="What to ask about"
        choices={[
          { value: "scene", label: "Scene" },
          { value: "own", label: "Your picture" },
        ]}
        value={pictureMode.value}
        onChange={(mode) => {
          pictureMode.value = mode;
        }}
      />
      {model.value !== undefined && model.value.imageSide === undefined && (
        <p class="hint">{model.value.name} reads text only: the question goes without the picture.</p>
      )}
      {pictureMode.value === "scene" ? <SceneTab /> : <OwnPictureTab />}
    </Panel>
  );
}

/** Types that can be decoded; file dialogs disable the others. */
const ACCEPT = "image/jpeg,image/png,image/webp,.jpg,.jpeg,.png,.webp";

/** Maximum side of the preview, pixels. */
const PREVIEW_SIDE = 1024;

/** The tab for the user's own picture. */
export function OwnPictureTab() {
  const picture = ownPicture.value;
  const [isCameraOpen, setCameraOpen] = useState(false);
  const open = (files: readonly File[]) => {
    const [file] = files;
    if (file !== undefined) void openPicture(file, file.name);
  };
  return (
    <>
      <div class="stage">{picture === undefined ? <DropZone /> : <Shown picture={picture} />}</div>
      <div class="row">
        <FileButton label="Choose a picture" accept={ACCEPT} onFiles={open} />
        <span class="for-touch">
          <FileButton label="Take a photo" accept="image/*" capture="environment" onFiles={open} />
        </span>
        {hasCamera() && (
          <span class="for-mouse">
            <button type="button" onClick={() => setCameraOpen(true)}>
              Use the camera
            </button>
          </span>
        )}
        {isCameraOpen && <Camera onClose={() => setCameraOpen(false)} />}
      </div>
      {isEmbedded.value && (
        <p class="hint">
          This model knows only drawings of the 24 objects of the scene. What it says about a photograph means nothing;
          for photographs, choose another model above.
        </p>
      )}
      <Examples />
    </>
  );
}

/** Whether the browser may give the page a camera: over https and on localhost only. */
function hasCamera(): boolean {
  return "mediaDevices" in navigator && typeof navigator.mediaDevices?.getUserMedia === "function";
}

function DropZone() {
  return (
    <div class="drop-zone">
      <strong>
        <span class="for-mouse">Drop a picture anywhere on the page</span>
        <span class="for-touch">Choose a picture or take a photo</span>
      </strong>
      <span class="hint">
        <span class="for-mouse">or paste one; </span>it stays on this machine
      </span>
    </div>
  );
}

function Shown({ picture }: { readonly picture: OwnPicture }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    if (canvas.current !== null) putPicture(canvas.current, picture.image, PREVIEW_SIDE);
  }, [picture]);
  const { name, image } = picture;
  return (
    <canvas
      ref={canvas}
      class="contained"
      role="img"
      aria-label={`Your picture ${name}, ${image.width} by ${image.height} pixels`}
    />
  );
}

/** The checkpoint's demo pictures; choosing one fills in its question. */
function Examples() {
  const [pictures, setPictures] = useState<readonly DemoPicture[]>([]);
  useEffect(() => {
    // Without them, only the row of examples is missing.
    demoPictures().then(setPictures, () => setPictures([]));
  }, []);
  if (pictures.length === 0) return null;
  const chosen = pictures.find(({ image }) => image === ownPicture.value?.name);
  const choose = async ({ image, question }: DemoPicture) => {
    if (!(await openPicture(() => fetchPicture(new URL(image, DEMO_URL)), image))) return;
    freeText.value = question;
    questionMode.value = "free";
  };
  return (
    <div class="field">
      <span class="label">Examples, each with its question</span>
      <div class="examples">
        {pictures.map((demo) => (
          <button
            key={demo.image}
            type="button"
            aria-pressed={ownPicture.value?.name === demo.image}
            aria-label={`Example: ${demo.question}`}
            onClick={() => void choose(demo)}
          >
            <img src={new URL(demo.image, DEMO_URL).href} alt="" loading="lazy" width="112" height="112" />
          </button>
        ))}
      </div>
      {chosen !== undefined && (
        <p class="hint">
          Right answer: <strong>{chosen.answer}</strong>. {chosen.note}
        </p>
      )}
    </div>
  );
}

/** Longer than the interval between dragover events, milliseconds; HTML specifies about 350. */
const SILENCE_MS = 1000;

/** Handles drops and pastes on the whole page; shows a drop target during a drag. */
export function DropAnywhere() {
  const [isOver, setOver] = useState(false);
  useEffect(() => {
    const listeners = new AbortController();
    const { signal } = listeners;
    let silence: ReturnType<typeof setTimeout> | undefined;
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") === true;
    const leave = () => {
      clearTimeout(silence);
      setOver(false);
    };
    const onOver = (event: DragEvent) => {
      if (event.dataTransfer === null || !hasFiles(event)) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
      setOver(true);
      // If an element is removed under the pointer, no event reports that the drag left the window.
      clearTimeout(silence);
      silence = setTimeout(leave, SILENCE_MS);
    };
    const onDrop = (event: DragEvent) => {
      leave();
      if (event.dataTransfer === null || !hasFiles(event)) return;
      event.preventDefault();
      void openDropped(event.dataTransfer);
    };
    document.addEventListener("dragenter", onOver, { signal });
    document.addEventListener("dragover", onOver, { signal });
    document.addEventListener("dragleave", ({ relatedTarget }) => relatedTarget === null && leave(), { signal });
    document.addEventListener("drop", onDrop, { signal });
    document.addEventListener("paste", (event) => void openPasted(event), { signal });
    return () => {
      leave();
      listeners.abort();
    };
  }, []);
  if (!isOver) return null;
  return <div class="drop-cover">Drop a picture to ask about it, or a checkpoint’s folder to load it</div>;
}
