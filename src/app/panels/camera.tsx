// A photo from the machine's camera, in a dialog. Phones have a camera app of their own, which the file input opens.

import { useEffect, useRef, useState } from "preact/hooks";
import { openPicture } from "../own-files.ts";
import { Dialog } from "./dialog.tsx";

/** Sides that the camera is asked for, pixels: more than any checkpoint here looks at. */
const WANTED = { width: { ideal: 1280 }, height: { ideal: 960 }, facingMode: "environment" } as const;

/** The dialog; the camera is on only while it is open. */
export function Camera({ onClose }: { readonly onClose: () => void }) {
  const video = useRef<HTMLVideoElement>(null);
  const [state, setState] = useState<"starting" | "on" | { readonly problem: string }>("starting");
  useEffect(() => {
    let isOpen = true;
    let stream: MediaStream | undefined;
    const end = () => {
      for (const track of stream?.getTracks() ?? []) track.stop();
    };
    const start = async () => {
      try {
        stream = await navigator.mediaDevices.getUserMedia({ video: WANTED, audio: false });
        if (!isOpen || video.current === null) return end();
        video.current.srcObject = stream;
        await video.current.play();
        if (isOpen) setState("on");
      } catch (error) {
        end();
        if (isOpen) setState({ problem: problemOf(error) });
      }
    };
    void start();
    return () => {
      isOpen = false;
      end();
    };
  }, []);
  const take = async () => {
    const photo = video.current && (await frameOf(video.current));
    if (!photo) return;
    onClose();
    await openPicture(photo, "photo.png");
  };
  return (
    <Dialog title="Take a photo" onClose={onClose}>
      {typeof state === "object" ? (
        <p role="alert">{state.problem}</p>
      ) : (
        <>
          <video ref={video} class="camera" muted playsInline aria-label="What the camera sees" />
          <div class="row">
            <button type="button" class="primary" disabled={state !== "on"} onClick={() => void take()}>
              Take the photo
            </button>
            <span class="hint">Not mirrored, and it stays on this machine.</span>
          </div>
        </>
      )}
    </Dialog>
  );
}

/** The video's present frame as a PNG file; undefined while there is none. */
async function frameOf(video: HTMLVideoElement): Promise<Blob | undefined> {
  const { videoWidth: width, videoHeight: height } = video;
  if (width === 0 || height === 0) return undefined;
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")?.drawImage(video, 0, 0, width, height);
  return await canvas.convertToBlob({ type: "image/png" });
}

function problemOf(error: unknown): string {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError")
    return "The browser does not let this page use the camera: allow it beside the address, or choose a picture file.";
  if (name === "NotFoundError" || name === "OverconstrainedError")
    return "No camera was found: connect one, or choose a picture file.";
  if (name === "NotReadableError") return "Another program uses the camera: close it, or choose a picture file.";
  return `The camera could not be started (${String(error)}): choose a picture file.`;
}
