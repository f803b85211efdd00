// The page's name and purpose, its offline state, and the choice of light or dark.

import { useEffect, useState } from "preact/hooks";
import { offlineState } from "../state.ts";
import { Select } from "./controls.tsx";

type Theme = "system" | "light" | "dark";

/** Key of the stored theme; specific to this page, since other pages share the origin. */
const STORED = "adaptvis theme";

const themes = [
  { value: "system", label: "As the system" },
  { value: "light", label: "Light" },
  { value: "dark", label: "Dark" },
] as const;

/** The top of the page. */
export function Masthead() {
  return (
    <header class="masthead">
      <div>
        <h1 tabIndex={-1}>adaptvis playground</h1>
        <p class="purpose">
          Ask a vision-language model about a picture, and see where it looks. It runs in this page, on your own
          machine: neither the picture nor the question is sent anywhere.
        </p>
      </div>
      <div class="masthead-side">
        <span role="status">
          <Offline />
        </span>
        <ThemeChoice />
      </div>
    </header>
  );
}

/** A newer version is never mixed with the version in other tabs, so it waits until the last of them closes. */
function Offline() {
  switch (offlineState.value) {
    case "unknown":
      return null;
    case "kept":
      return <>Works offline now</>;
    case "newer":
      return (
        <>
          A newer version is ready; close this page’s other tabs first.{" "}
          <button type="button" onClick={() => location.reload()}>
            Reload
          </button>
        </>
      );
  }
}

function ThemeChoice() {
  const [theme, setTheme] = useState<Theme>(storedTheme);
  useEffect(() => {
    apply(theme);
    try {
      localStorage.setItem(STORED, theme);
    } catch {
      // Storage may be blocked; the choice then lasts until the page is closed.
    }
  }, [theme]);
  return <Select<Theme> label="Colours" choices={themes} value={theme} onChange={setTheme} />;
}

/** Applies the theme of the last visit, before anything is drawn. */
export function applyStoredTheme(): void {
  apply(storedTheme());
}

function apply(theme: Theme): void {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

function storedTheme(): Theme {
  try {
    const stored = localStorage.getItem(STORED);
    return themes.find(({ value }) => value === stored)?.value ?? "system";
  } catch {
    return "system";
  }
}
