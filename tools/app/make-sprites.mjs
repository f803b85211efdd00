// Makes src/app/sprites: the playground's household objects, one WebP each, from the emoji that tiny-spatial was trained on.
//   node tools/app/make-sprites.mjs
// Downloads @lobehub/fluent-emoji-3d (MIT) from npm once; the result is committed. Trimmed and sized as tools/train-tiny/world.py does.

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";

const PACKAGE = "@lobehub/fluent-emoji-3d@1.1.0";
/** Longest side of a sprite, pixels; a picture of 224 pixels shows it at 96 at most. */
const SIDE = 128;
/** Alpha up to which a pixel counts as margin. */
const MARGIN_ALPHA = 40;

const root = fileURLToPath(new URL("../..", import.meta.url));
const output = join(root, "src", "app", "sprites");
const folder = mkdtempSync(join(tmpdir(), "adaptvis-sprites-"));
try {
  run("npm", ["pack", PACKAGE, "--silent"]);
  run("sh", ["-c", "tar xzf *.tgz"]);
  mkdirSync(output, { recursive: true });
  for (const [name, code] of objectsOfWorld()) {
    const picture = sharp(join(folder, "package", "assets", `${code}.webp`)).ensureAlpha();
    const { data, info } = await picture.clone().raw().toBuffer({ resolveWithObject: true });
    await picture
      .extract(tightBox(data, info))
      .resize(SIDE, SIDE, { fit: "inside", kernel: "cubic" })
      .webp({ quality: 90, effort: 6 })
      .toFile(join(output, `${name}.webp`));
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function run(command, args) {
  const { status } = spawnSync(command, args, { cwd: folder, stdio: "inherit" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${status}`);
}

/** Names and code points out of world.py's OBJECTS, so that they are written down once. */
function objectsOfWorld() {
  const text = readFileSync(join(root, "tools", "train-tiny", "world.py"), "utf8");
  const table = /OBJECTS = \{([^}]*)\}/.exec(text)?.[1] ?? "";
  return [...table.matchAll(/"(\w+)": "([\w-]+)"/g)].map(([, name, code]) => [name, code]);
}

/** The smallest box that holds every pixel that is more than margin. */
function tightBox(data, { width, height }) {
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (data[(y * width + x) * 4 + 3] <= MARGIN_ALPHA) continue;
      left = Math.min(left, x);
      right = Math.max(right, x + 1);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y + 1);
    }
  }
  return { left, top, width: right - left, height: bottom - top };
}
