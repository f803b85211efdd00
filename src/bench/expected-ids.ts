// Token ids of the parity parts, as `adaptvis bench --only parity --json` prints them on lavapipe (Mesa 25.0.7), where the engine
// agrees with Transformers. The random checkpoints of random-checkpoint.ts are those of GENERATOR_VERSION 2.

/** Ids separated by spaces, by the name of the check. */
export const EXPECTED_IDS: Readonly<Record<string, string>> = {
  "demo mug_left_of_dog.jpeg greedy": "301 1",
  "demo mug_left_of_dog.jpeg adaptvis": "301 1",
  "demo teapot_on_rings.jpeg greedy": "362 1",
  "demo teapot_on_rings.jpeg adaptvis": "362 1",
  "demo ball_behind_robot.png greedy": "301 1",
  "demo ball_behind_robot.png adaptvis": "359 1",
  "demo gift_behind_guitar.png greedy": "359 1",
  "demo gift_behind_guitar.png adaptvis": "302 1",
  "llava-110m f16 text":
    "3564 29757 2314 5875 6567 28222 17273 23846 23148 15912 5512 17046 17046 17046 9166 11028 3210 17922 30254 8821 31498 29185 28222 28222",
  "llava-110m f16 picture greedy": "29401 29401 29401 29401 29401 29401 29401 29401",
  "llava-110m f16 picture adaptvis": "29401 29401 29401 29401 29401 29401 29401 29401",
  "llava-110m q8 text":
    "3564 29757 2314 5875 6567 28222 17273 23846 23148 15912 5512 17046 17046 17046 9166 11028 3210 17922 30254 8821 31498 29185 28222 28222",
  "llava-110m q4 text":
    "28704 23148 31955 1455 4757 23157 28222 28222 28222 28222 28222 28222 28222 28222 28222 24864 16879 16879 16879 16879 16879 31498 3205 25069",
};
