// The picture to ask about: a scene of household objects, or a picture of the user's.

import { pictureMode } from "../state.ts";
import { Panel, Segmented } from "./controls.tsx";
import { OwnPictureTab } from "./own-picture.tsx";
import { SceneTab } from "./scene-tab.tsx";

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
      {pictureMode.value === "scene" ? <SceneTab /> : <OwnPictureTab />}
    </Panel>
  );
}
