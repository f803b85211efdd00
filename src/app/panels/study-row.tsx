// The row under a panel's controls: its main button, Stop while it runs, and what it is doing; and the download of what came of it.
import type { ComponentChildren } from "preact";
import { save } from "../draw/download.ts";
import { stop } from "../session.ts";
import { running, type Study } from "../state.ts";

/** The main button of a study, with Stop and the stage while it runs. */
export function StudyRow(props: {
  readonly of: Study;
  readonly label: string;
  readonly isDisabled?: boolean;
  readonly onStart: () => void;
  /** Further buttons. */
  readonly children?: ComponentChildren;
}) {
  const now = running.value;
  const isRunning = now?.kind === "study" && now.of === props.of;
  const isBusy = now !== undefined || props.isDisabled === true;
  return (
    <div class="row">
      <button
        type="button"
        class="primary"
        aria-disabled={isBusy}
        onClick={() => {
          if (!isBusy) props.onStart();
        }}
      >
        {props.label}
      </button>
      {isRunning && (
        <button type="button" onClick={() => void stop()}>
          Stop
        </button>
      )}
      {props.children}
      <span class="hint" role="status">
        {isRunning ? now.stage : ""}
      </span>
    </div>
  );
}

/** Downloads what was found out as JSON. */
export function SaveFindings(props: {
  readonly label: string;
  readonly name: string;
  readonly findings: () => unknown;
}) {
  const { label, name, findings } = props;
  return (
    <button
      type="button"
      class="findings"
      onClick={() => {
        const text = `${JSON.stringify(findings(), undefined, 2)}\n`;
        save(new Blob([text], { type: "application/json" }), name);
      }}
    >
      {label}
    </button>
  );
}
