// Errors with what to do about them, the progress of loading, and announcements for screen readers.
import type { ComponentChildren } from "preact";
import { BROWSER_KINDS, type BrowserKind, browserKind } from "../draw/browser-kind.ts";
import { byteSize } from "../draw/words.ts";
import type { FailureKind, LoadStep } from "../protocol.ts";
import { stop } from "../session.ts";
import { announcement, dismiss, isRecovering, model, type Notice, notices, running } from "../state.ts";

/** All open notices, and a notice about a lost device while the worker recovers. */
export function Notices() {
  return (
    <div class="notices">
      {isRecovering.value && (
        <div class="notice told" role="status">
          <div class="body">
            <strong>The GPU was lost; the page is restoring the model</strong>
            Drivers reset a GPU after a crash, a long sleep or a computation that takes too long. You do not need to do
            anything: the picture and the question stay, and you can ask again in a moment.
          </div>
        </div>
      )}
      {notices.value.map((notice) => (
        <NoticeCard key={notice.id} notice={notice} />
      ))}
    </div>
  );
}

const mild: readonly FailureKind[] = ["busy", "stopped"];

function NoticeCard({ notice }: { readonly notice: Notice }) {
  const { kind, message } = notice.failure;
  const isMild = mild.includes(kind);
  return (
    <div class={isMild ? "notice told" : "notice failed"} role={isMild ? "status" : "alert"}>
      <div class="body">
        <strong>{notice.title}</strong>
        {message}
        {kind === "no-webgpu" && !isSecureContext ? <OnlySecure /> : advice[kind]}
        {kind === "checkpoint" && model.value !== undefined && <p>{model.value.name} stays in use.</p>}
      </div>
      <button type="button" onClick={() => dismiss(notice.id)} aria-label={`Close the notice “${notice.title}”`}>
        Close
      </button>
    </div>
  );
}

/** Instructions when the address is the reason: another browser or setting would not help. */
function OnlySecure() {
  const { host, pathname } = location;
  return (
    <p>
      Open <a href={`https://${host}${pathname}`}>{`https://${host}${pathname}`}</a> if that host has it, or serve the
      page from this machine and open it as http://localhost.
    </p>
  );
}

/** What to do in each browser without WebGPU. */
const withoutWebGpu: Readonly<Record<BrowserKind, ComponentChildren>> = {
  chromium: (
    <>Chrome and Edge have WebGPU since version 113 on Windows, macOS and ChromeOS, since 121 on Android: update it.</>
  ),
  "chromium-linux": (
    <>
      On Linux, newer versions of Chrome support WebGPU for some GPUs; otherwise open <code>chrome://flags</code>,
      search for “WebGPU” and switch on “Unsafe WebGPU Support” and “Vulkan”.
    </>
  ),
  firefox: (
    <>
      Firefox has WebGPU since version 141 on Windows and 145 on Macs with Apple silicon. Elsewhere, open{" "}
      <code>about:config</code>, set <code>dom.webgpu.enabled</code> and <code>gfx.webgpu.ignore-blocklist</code> to
      true, then restart it.
    </>
  ),
  safari: <>Safari has WebGPU since version 26, on macOS, iOS and iPadOS: update the system, which brings it.</>,
};

/** The reader's browser first, the others on demand. */
function WithoutWebGpu() {
  const own = browserKind(navigator.userAgent);
  const others = BROWSER_KINDS.filter((kind) => kind !== own);
  return (
    <>
      {own !== undefined && <p>{withoutWebGpu[own]}</p>}
      <details open={own === undefined}>
        <summary>{own === undefined ? "What to do, by browser" : "In another browser"}</summary>
        <ul>
          {others.map((kind) => (
            <li key={kind}>{withoutWebGpu[kind]}</li>
          ))}
        </ul>
        <p>
          <a href="https://caniuse.com/webgpu">Which browsers have WebGPU today (caniuse.com)</a>
        </p>
      </details>
    </>
  );
}

/** Where each browser says why it offers no GPU, and how to have it offer one. */
function WithoutAdapter() {
  const own = browserKind(navigator.userAgent);
  return (
    <ul>
      <li>In the browser’s settings, enable “Use graphics acceleration when available”, then restart the browser.</li>
      {own === "firefox" ? (
        <li>
          <code>about:support</code> shows whether WebGPU is disabled and why; an updated graphics driver often helps.
          Firefox may block the driver: set <code>gfx.webgpu.ignore-blocklist</code> (and{" "}
          <code>dom.webgpu.enabled</code>) to true in <code>about:config</code>, then restart it.
        </li>
      ) : (
        <>
          <li>
            <code>chrome://gpu</code> shows whether WebGPU is disabled and why; an updated graphics driver often helps.
          </li>
          <li>
            Without any GPU, Chrome can compute in software: start it with{" "}
            <code>--enable-unsafe-webgpu --use-webgpu-adapter=swiftshader</code>.
          </li>
        </>
      )}
    </ul>
  );
}

/** Instructions, for failures whose message alone is not enough. */
const advice: Readonly<Partial<Record<FailureKind, ComponentChildren>>> = {
  "no-webgpu": <WithoutWebGpu />,
  "no-adapter": <WithoutAdapter />,
  "out-of-memory": (
    <ul>
      <li>Close other tabs and programs that use the GPU, then try again.</li>
      <li>Ask for a shorter answer, or open a smaller checkpoint; the one that comes with the page needs a few MiB.</li>
    </ul>
  ),
  limit: <p>This GPU is too small for this model or question; a smaller checkpoint or picture may fit.</p>,
};

/** Description of a loading step. */
function stepInWords({ phase, loadedBytes, totalBytes, numCompiled, numKernels }: LoadStep): string {
  if (phase === "adapter") return "looking for a GPU";
  if (phase === "config") return "reading the configuration";
  if (phase === "weights") {
    return totalBytes === 0 ? "weights" : `weights, ${byteSize(loadedBytes)} of ${byteSize(totalBytes)}`;
  }
  return numKernels === 0 ? "compiling kernels" : `compiling kernels, ${numCompiled} of ${numKernels}`;
}

/** The progress of loading; empty when no load is running. */
export function LoadStrip() {
  const now = running.value;
  if (now?.kind !== "load") return null;
  const { step, name } = now;
  return (
    <div class="load-strip">
      <span id="load-text">{`Loading ${name}${step === undefined ? "" : `: ${stepInWords(step)}`}`}</span>
      <progress aria-labelledby="load-text" max={1} value={step?.share ?? 0} />
      <button type="button" onClick={() => void stop()}>
        Stop loading
      </button>
    </div>
  );
}

/** Polite announcements for screen readers, such as a finished answer or a moved object. */
export function Announcer() {
  return (
    <div class="visually-hidden" role="status" aria-live="polite">
      {announcement.value}
    </div>
  );
}
