import type { Scene } from "../../src/app/scene/scene.ts";

/** A mug to the left of a dog, about which greedy and AdaptVis agree. */
export const MUG_AND_DOG: Scene = {
  background: "wall",
  objects: [
    { name: "mug", x: 0.26, y: 0.62, size: 0.32, flipped: false },
    { name: "dog", x: 0.72, y: 0.6, size: 0.36, flipped: false },
  ],
};
