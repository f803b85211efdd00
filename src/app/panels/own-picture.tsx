// A picture of the user's: dropped, pasted, chosen, photographed, or one of the checkpoint's examples.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { putPicture } from "../draw/attention-view.ts";
import { DEMO_URL, type DemoPicture, demoPictures } from "../draw/demo-pictures.ts";
import { fetchPicture, openPicture } from "../own-files.ts";
import { freeText, model, type OwnPicture, ownPicture, questionMode } from "../state.ts";
import { FileButton } from "./controls.tsx";

/** What can be decoded; a file chooser then greys out the rest. */
const ACCEPT = "image/jpeg,image/png,image/webp,.jpg,.jpeg,.png,.webp";

/** Longest side of the preview, pixels. */
const PREVIEW_SIDE = 1024;

/** The tab for pictures of one's own. */
export function OwnPictureTab() {
  const picture = ownPicture.value;
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
      </div>
      {model.value?.name === "tiny-spatial" && (
        <p class="hint">
          tiny-spatial knows only its own toy world, drawings of the 24 objects of the scene. About a photograph it
          answers too, but the answer means nothing; for photographs open a LLaVA checkpoint below, under Model.
        </p>
      )}
      <Examples />
    </>
  );
}

function DropZone() {
  return (
    <div class="drop-zone">
      <strong>Drop a picture anywhere on the page</strong>
      <span class="hint">or paste one; it stays on this machine</span>
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
    // Without them, nothing but the row of examples is missing.
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
