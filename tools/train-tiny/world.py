"""The toy world: samples a scene, draws it with PIL and says what is true of it.

Everything is a function of the `numpy.random.Generator` handed in, so a seed fixes a picture to the byte
(for the pinned Pillow and numpy).
"""

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from settings import SETTINGS

CANVAS = SETTINGS.canvas
MODEL_SIDE = SETTINGS.side
GRID = SETTINGS.grid
PATCH = CANVAS // GRID

# The word a question uses -> the emoji's code points (file name in @lobehub/fluent-emoji-3d).
OBJECTS = {
    "apple": "1f34e", "ball": "26bd", "banana": "1f34c", "basket": "1f9fa", "bed": "1f6cf-fe0f", "book": "1f4d5",
    "bucket": "1faa3", "camera": "1f4f7", "candle": "1f56f-fe0f", "cat": "1f408", "chair": "1fa91", "clock": "23f0",
    "dog": "1f436", "drum": "1f941", "gift": "1f381", "guitar": "1f3b8", "hat": "1f3a9", "laptop": "1f4bb",
    "mug": "2615", "plant": "1fab4", "robot": "1f916", "shoe": "1f45f", "teapot": "1fad6", "umbrella": "2602-fe0f",
}  # fmt: skip
NAMES = list(OBJECTS)
CLUTTER = ["1f355", "1f30e", "1f3c6", "1f511", "1f3fa", "1f9f9", "1f455", "1fa9e", "2b50", "1f9fd", "1f388", "1f697"]

RELATIONS = ["none", "left", "right", "on", "under", "front", "behind"]
INVERSE = {"left": "right", "right": "left", "on": "under", "under": "on", "front": "behind", "behind": "front", "none": "none"}
PLACES = ["none", "left", "right", "top", "bottom"]

# How often each kind of scene is drawn for training: the skew of the world.
SCENE_KINDS = {"side": 0.53, "one": 0.30, "stack": 0.09, "depth": 0.08}
HABIT_SHARE = 0.75  # of stack and depth scenes show a habitual pair
NUM_STACK_HABITS = 32  # pairs that only ever occur stacked, always the same one on top
NUM_DEPTH_HABITS = 24  # pairs that only ever occur one in front of the other, always the same one in front


def habits(seed: int = 7) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The habitual (upper, lower) pairs and (front, back) pairs; fixed by the seed, disjoint as sets of two."""
    rng = np.random.default_rng(seed)
    pairs = [(a, b) for i, a in enumerate(NAMES) for b in NAMES[i + 1 :]]
    chosen = [pairs[i] for i in rng.permutation(len(pairs))[: NUM_STACK_HABITS + NUM_DEPTH_HABITS]]
    turned = [pair if rng.random() < 0.5 else pair[::-1] for pair in chosen]
    return turned[:NUM_STACK_HABITS], turned[NUM_STACK_HABITS:]


STACK_HABITS, DEPTH_HABITS = habits()
HABITUAL = {frozenset(pair) for pair in STACK_HABITS + DEPTH_HABITS}


@dataclass
class Placed:
    """One object in a scene: its sprite, the centre of its tight box in pixels, and what is known of it."""

    name: str
    sprite: Image.Image
    x: float
    y: float
    depth: float = 0.0  # -1 behind, +1 in front
    coverage: np.ndarray = field(default_factory=lambda: np.zeros(GRID * GRID))  # visible share of each patch

    @property
    def width(self) -> int:
        return self.sprite.width

    @property
    def height(self) -> int:
        return self.sprite.height

    @property
    def corner(self) -> tuple[int, int]:
        """Left and top edge of the sprite in whole pixels; outside of the picture where the object leaves it."""
        return round(self.x - self.width / 2), round(self.y - self.height / 2)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom edge of the whole object in the picture, also of what another one hides."""
        left, top = self.corner
        return max(left, 0), max(top, 0), min(left + self.width, CANVAS), min(top + self.height, CANVAS)


@dataclass
class Scene:
    """A drawn picture with its objects (in painter's order) and the relations that hold in it."""

    picture: Image.Image
    objects: list[Placed]
    relations: dict[tuple[str, str], str]

    def place(self, thing: Placed) -> str:
        """Third of the picture in which the object clearly is, or "none"."""
        dx, dy = thing.x / CANVAS - 0.5, thing.y / CANVAS - 0.5
        far, near = max(abs(dx), abs(dy)), min(abs(dx), abs(dy))
        if far < 0.17 or near > 0.6 * far:
            return "none"
        if abs(dx) > abs(dy):
            return "left" if dx < 0 else "right"
        return "top" if dy < 0 else "bottom"


class Artist:
    """Draws scenes from a folder of emoji pictures; keeps the decoded sprites."""

    def __init__(self, emoji_dir: Path):
        self.sprites = {name: self._load(emoji_dir / f"{code}.webp") for name, code in OBJECTS.items()}
        self.clutter = [self._load(emoji_dir / f"{code}.webp") for code in CLUTTER]
        blob = Image.new("L", (96, 48), 0)
        ImageDraw.Draw(blob).ellipse((12, 10, 84, 38), fill=255)
        self.shadow = blob.filter(ImageFilter.GaussianBlur(6))

    @staticmethod
    def _load(path: Path) -> Image.Image:
        sprite = Image.open(path).convert("RGBA")
        sprite = sprite.crop(sprite.getchannel("A").point(lambda a: 255 * (a > 40)).getbbox())
        sprite.thumbnail((128, 128), Image.Resampling.BICUBIC)
        return sprite

    # ---- sprites -------------------------------------------------------------------------------------------------

    def _sprite(self, rng: np.random.Generator, source: Image.Image, side: float) -> Image.Image:
        """The source turned, flipped, brightened and scaled so that its longer side is about `side` pixels."""
        scale = side / max(source.size)
        sprite = source.resize((max(8, round(source.width * scale)), max(8, round(source.height * scale))), Image.Resampling.BILINEAR)
        if rng.random() < 0.5:
            sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if rng.random() < 0.5:
            sprite = sprite.rotate(rng.uniform(-12, 12), Image.Resampling.BILINEAR, expand=True)
        if rng.random() < 0.5:
            alpha = sprite.getchannel("A")
            sprite = ImageEnhance.Brightness(sprite.convert("RGB")).enhance(rng.uniform(0.8, 1.15))
            sprite.putalpha(alpha)
        return sprite.crop(sprite.getchannel("A").point(lambda a: 255 * (a > 40)).getbbox())

    def _object(self, rng: np.random.Generator, name: str, low: float = 50, high: float = 88) -> Placed:
        return Placed(name, self._sprite(rng, self.sprites[name], rng.uniform(low, high)), 0, 0)

    # ---- layouts -------------------------------------------------------------------------------------------------

    def side(self, rng: np.random.Generator, names: list[str]) -> tuple[list[Placed], dict]:
        """Objects side by side in the order of `names`, from left to right."""
        things = [self._object(rng, name, 48, 86 if len(names) == 2 else 68) for name in names]
        spare = CANVAS - 8 - sum(t.width for t in things)
        cuts = np.sort(rng.uniform(0, 1, len(things))) * max(spare, 0)
        ground = rng.uniform(100, 205)
        x = 4.0
        for i, thing in enumerate(things):
            x += cuts[i] - (cuts[i - 1] if i else 0)
            thing.x = x + thing.width / 2
            x += thing.width
            bottom = np.clip(ground + rng.uniform(-14, 14), thing.height + 4, CANVAS - 4)
            thing.y = bottom - thing.height / 2
        relations = {(a.name, b.name): "left" for i, a in enumerate(things) for b in things[i + 1 :]}
        return things, relations

    def stack(self, rng: np.random.Generator, upper: str, lower: str) -> tuple[list[Placed], dict]:
        """`upper` standing on `lower`."""
        top, base = self._object(rng, upper, 48, 84), self._object(rng, lower, 56, 96)
        sink = rng.uniform(0, 6)
        total = top.height + base.height - sink
        bottom = rng.uniform(min(total + 4, CANVAS - 5), CANVAS - 4)
        base.y = bottom - base.height / 2
        top.y = bottom - base.height + sink - top.height / 2
        half = max(top.width, base.width) / 2 + 4
        base.x = rng.uniform(half, CANVAS - half)
        top.x = np.clip(base.x + rng.uniform(-0.25, 0.25) * base.width, top.width / 2 + 2, CANVAS - top.width / 2 - 2)
        return [base, top], {(upper, lower): "on"}

    def depth(self, rng: np.random.Generator, front: str, back: str) -> tuple[list[Placed], dict]:
        """`front` before `back`: lower in the picture, a little larger, and hiding a part of it."""
        near, far = self._object(rng, front, 56, 88), self._object(rng, back, 64, 94)
        near.depth, far.depth = 1.0, -1.0
        bottom = rng.uniform(max(far.height, near.height) + 26, CANVAS - 4)
        near.y = bottom - near.height / 2
        far.y = min(bottom - rng.uniform(14, 26) - far.height / 2, near.y - 12)
        shift = rng.uniform(0.22, 0.5) * (near.width + far.width) / 2 * rng.choice([-1, 1])
        left, right = max(near.width, far.width) / 2 + 3, CANVAS - max(near.width, far.width) / 2 - 3
        middle = rng.uniform(left, right)
        near.x = np.clip(middle + shift / 2, near.width / 2 + 2, CANVAS - near.width / 2 - 2)
        far.x = np.clip(middle - shift / 2, far.width / 2 + 2, CANVAS - far.width / 2 - 2)
        return [far, near], {(front, back): "front"}

    def one(self, rng: np.random.Generator, name: str, place: str) -> tuple[list[Placed], dict]:
        """One object in the named third of the picture."""
        thing = self._object(rng, name, 46, 84)
        near, across = rng.uniform(0.02, 0.14), rng.uniform(0.36, 0.64)
        w, h = thing.width / CANVAS / 2, thing.height / CANVAS / 2
        near_x, near_y = min(w + near, 0.32), min(h + near, 0.32)
        x, y = {"left": (near_x, across), "right": (1 - near_x, across), "top": (across, near_y), "bottom": (across, 1 - near_y)}[place]
        thing.x, thing.y = x * CANVAS, y * CANVAS
        return [thing], {}

    def add_bystander(self, rng: np.random.Generator, things: list[Placed], relations: dict, name: str) -> None:
        """Adds an object where it touches no other, if there is room; notes left/right where that is plain."""
        thing = self._object(rng, name, 44, 66)
        for _ in range(12):
            thing.x = rng.uniform(thing.width / 2 + 2, CANVAS - thing.width / 2 - 2)
            thing.y = rng.uniform(thing.height / 2 + 2, CANVAS - thing.height / 2 - 2)
            clear = all(
                abs(thing.x - t.x) > (thing.width + t.width) / 2 + 3 or abs(thing.y - t.y) > (thing.height + t.height) / 2 + 8 for t in things
            )
            if clear:
                break
        else:
            return
        for t in things:
            apart = abs(thing.x - t.x) > (thing.width + t.width) / 2
            if apart and abs(thing.x - t.x) > 2 * abs(thing.y - t.y) and frozenset((thing.name, t.name)) not in HABITUAL:
                relations[(thing.name, t.name)] = "left" if thing.x < t.x else "right"
        things.insert(0, thing)

    # ---- drawing -------------------------------------------------------------------------------------------------

    def background(self, rng: np.random.Generator) -> Image.Image:
        """One of six kinds: plain, gradient, wall and floor, stripes, checks, soft blobs; sometimes with noise."""
        light = lambda: rng.integers(90, 256, 3).astype(np.float32)  # noqa: E731
        yy, xx = np.mgrid[0:CANVAS, 0:CANVAS].astype(np.float32) / CANVAS
        a, b = light(), light()
        kind = rng.integers(6)
        if kind == 0:
            t = np.zeros_like(xx)
        elif kind == 1:
            angle = rng.uniform(0, 2 * np.pi)
            t = np.clip(0.5 + (xx - 0.5) * np.cos(angle) + (yy - 0.5) * np.sin(angle), 0, 1)
        elif kind == 2:
            t = (yy > rng.uniform(0.35, 0.8)).astype(np.float32) * (0.7 + 0.3 * yy)
        elif kind == 3:
            t = 0.35 * ((((xx if rng.random() < 0.5 else yy) * rng.integers(4, 14)) % 1) > 0.5)
        elif kind == 4:
            n = rng.integers(3, 10)
            t = 0.35 * ((((xx * n).astype(int) + (yy * n).astype(int)) % 2) > 0)
        else:
            coarse = Image.fromarray(rng.integers(0, 256, (5, 5), dtype=np.uint8)).resize((CANVAS, CANVAS), Image.Resampling.BICUBIC)
            t = np.asarray(coarse, np.float32) / 255
        canvas = a + (b - a) * np.asarray(t, np.float32)[..., None]
        if rng.random() < 0.35:
            canvas = canvas + rng.standard_normal((CANVAS, CANVAS, 1), dtype=np.float32) * rng.uniform(2, 12)
        return Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))

    def _strew(self, rng: np.random.Generator, picture: Image.Image) -> None:
        """Clutter: small shapes and small emoji that no question asks about, behind everything else."""
        draw = ImageDraw.Draw(picture)
        for _ in range(rng.integers(0, 4)):
            x, y, s = rng.uniform(0, CANVAS), rng.uniform(0, CANVAS), rng.uniform(6, 22)
            colour = tuple(int(c) for c in rng.integers(40, 256, 3))
            if rng.random() < 0.5:
                draw.ellipse((x - s, y - s, x + s, y + s * 0.8), fill=colour)
            else:
                draw.rectangle((x - s, y - s * 0.5, x + s, y + s * 0.7), fill=colour)
        if rng.random() < 0.3:
            sprite = self._sprite(rng, self.clutter[rng.integers(len(self.clutter))], rng.uniform(24, 40))
            picture.paste(sprite, (int(rng.uniform(0, CANVAS - 30)), int(rng.uniform(0, CANVAS - 30))), sprite)

    def draw(self, rng: np.random.Generator, things: list[Placed], relations: dict, background: Image.Image | None = None) -> Scene:
        """Paints the objects in their order and measures which patches each one still covers in the end."""
        picture = background or self.background(rng)
        if rng.random() < 0.6:
            self._strew(rng, picture)
        shadows = rng.random() < 0.6
        owner = np.full((CANVAS, CANVAS), -1, np.int8)
        for i, thing in enumerate(things):
            left, top = thing.corner
            if shadows:
                blob = self.shadow.resize((int(thing.width * 1.2), max(10, int(thing.height * 0.3)))).point(lambda v: v * 0.4)
                picture.paste((20, 20, 30), (round(thing.x - blob.width / 2), round(top + thing.height - blob.height * 0.55)), blob)
            picture.paste(thing.sprite, (left, top), thing.sprite)
            mask = np.asarray(thing.sprite.getchannel("A")) > 127
            x0, y0, x1, y1 = thing.box
            owner[y0:y1, x0:x1][mask[y0 - top : y1 - top, x0 - left : x1 - left]] = i
        for i, thing in enumerate(things):
            thing.coverage = (owner == i).reshape(GRID, PATCH, GRID, PATCH).mean((1, 3)).reshape(-1)
        both = dict(relations)
        both.update({(b, a): INVERSE[r] for (a, b), r in relations.items()})
        return Scene(picture, things, both)

    def pair(self, rng: np.random.Generator, first: str, relation: str, second: str) -> tuple[list[Placed], dict]:
        """The layout in which `first` stands in `relation` to `second`."""
        layout, names = {
            "left": (self.side, ([first, second],)),
            "right": (self.side, ([second, first],)),
            "on": (self.stack, (first, second)),
            "under": (self.stack, (second, first)),
            "front": (self.depth, (first, second)),
            "behind": (self.depth, (second, first)),
        }[relation]
        return layout(rng, *names)

    # ---- the training distribution of tiny-spatial; tiny-habit's is in habits.py ----------------------------------

    def sample(self, rng: np.random.Generator) -> Scene:
        """A scene as skewed as the training world is."""
        kind = rng.choice(list(SCENE_KINDS), p=list(SCENE_KINDS.values()))
        if kind == "side":
            things, relations = self.side(rng, unhabitual(rng, 3 if rng.random() < 0.4 else 2))
        elif kind == "one":
            things, relations = self.one(rng, NAMES[rng.integers(len(NAMES))], PLACES[rng.integers(1, 5)])
            for name in rng.permutation(NAMES)[: rng.integers(1, 3)]:
                if all(name != t.name for t in things):
                    self.add_bystander(rng, things, relations, str(name))
        else:
            pairs = STACK_HABITS if kind == "stack" else DEPTH_HABITS
            pair = pairs[rng.integers(len(pairs))] if rng.random() < HABIT_SHARE else unhabitual(rng, 2)
            things, relations = (self.stack if kind == "stack" else self.depth)(rng, *pair)
            if rng.random() < 0.3:
                name = str(rng.choice([n for n in NAMES if n not in pair]))
                self.add_bystander(rng, things, relations, name)
        return self.draw(rng, things, relations)


def unhabitual(rng: np.random.Generator, count: int) -> list[str]:
    """Names no two of which are a habitual pair, in random order."""
    while True:
        names = [str(n) for n in rng.choice(NAMES, count, replace=False)]
        if all(frozenset((a, b)) not in HABITUAL for i, a in enumerate(names) for b in names[i + 1 :]):
            return names


def jpeg(picture: Image.Image, quality: int, progressive: bool = False) -> bytes:
    """The picture as JPEG bytes; progressive ones are a tenth smaller."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality, progressive=progressive, optimize=progressive)
    return out.getvalue()


def to_model_side(picture: Image.Image) -> np.ndarray:
    """[MODEL_SIDE, MODEL_SIDE, 3] uint8, through the same PIL bicubic that CLIPImageProcessor uses."""
    return np.asarray(picture.resize((MODEL_SIDE, MODEL_SIDE), Image.Resampling.BICUBIC))
