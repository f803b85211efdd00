"""The goldens of pictures: Pillow's resize, transformers' processors, decoded files. Used by preprocess.py."""

import hashlib
import struct
import subprocess
import types
import zlib
from pathlib import Path

import numpy
import torch
from PIL import Image, ImageCms, ImageOps
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava_next import modeling_llava_next
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

FILTERS = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]
PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]


def sha(array) -> str:
    return hashlib.sha256(array if isinstance(array, bytes) else array.tobytes()).hexdigest()


def goldens(pictures: dict, files: Path, names: list):
    """Yields (name, JSON content, binary data) of each golden in `names`; of all if it is empty."""
    makers = {
        "resize": lambda: resized(pictures),
        "clip": lambda: clip(pictures),
        "siglip": lambda: siglip(pictures),
        "qwen2-vl": lambda: qwen2_vl(),
        "anyres": lambda: anyres(pictures),
        "decode": lambda: decoded(pictures, files),
    }
    for name, make in makers.items():
        if not names or name in names:
            yield make()


def resized(pictures: dict):
    """Cases are [picture, crop (left, top, width, height), filter, width, height]; the results stand one after the other."""
    sizes = {
        "noise": [(37, 23), (1, 1), (74, 46), (111, 23), (37, 9), (5, 60), (13, 13), (1, 50), (64, 1)],
        "coffee": [(56, 37), (97, 129), (19, 61)],
        "chelsea": [(67, 45), (31, 121)],
    }
    cases = [(name, (0, 0, *pictures[name].size), 3, w, h) for name, some in sizes.items() for w, h in some]
    for crop, size in [((3, 4, 1, 1), (7, 5)), ((0, 5, 37, 1), (20, 9)), ((6, 0, 1, 23), (4, 31)), ((2, 2, 2, 2), (9, 1))]:
        cases.append(("noise", crop, 3, *size))
    for number in (0, 1, 2, 4, 5):
        for w, h in [(19, 12), (50, 40), (37, 11)]:
            cases.append(("noise", (0, 0, 37, 23), number, w, h))
        cases.append(("coffee", (0, 0, 192, 128), number, 41, 27))
    listed, data = [], b""
    for name, (left, top, width, height), number, w, h in cases:
        cropped = pictures[name].crop((left, top, left + width, top + height))
        data += cropped.resize((w, h), number).tobytes()
        listed.append({"picture": name, "crop": [left, top, width, height], "filter": FILTERS[number], "size": [w, h]})
    return "resize", {"cases": listed}, data


def clip(pictures: dict):
    """Per case the processor's settings and the SHA-256 of its f32 pixel values."""
    square = lambda side: {"height": side, "width": side}
    settings = {
        "llava-1.5": {"size": {"shortest_edge": 336}, "crop_size": square(336)},
        "tiny-spatial": {"size": {"shortest_edge": 112}, "crop_size": square(112)},
        "numbers": {"size": 56, "crop_size": 56},
        "odd": {"size": {"shortest_edge": 75}, "crop_size": square(61)},
        "crop larger than the picture": {"size": {"shortest_edge": 50}, "crop_size": square(77)},
        "crop larger on one side": {"size": {"shortest_edge": 60}, "crop_size": square(71)},
        "stretched": {"size": {"height": 64, "width": 64}, "do_center_crop": False},
        "bilinear": {"size": {"shortest_edge": 56}, "crop_size": square(56), "resample": 2},
        "no resize": {"do_resize": False, "crop_size": square(99)},
        "no normalize": {"size": {"shortest_edge": 56}, "crop_size": square(56), "do_normalize": False},
        "no rescale": {"size": {"shortest_edge": 56}, "crop_size": square(56), "do_rescale": False},
        "bytes": {"size": 56, "crop_size": 56, "do_rescale": False, "do_normalize": False},
        "other numbers": {"size": 56, "crop_size": 56, "rescale_factor": 0.0078, "image_mean": 0.5, "image_std": [0.5, 0.25, 0.3]},
        "padded to a square": {"size": {"shortest_edge": 56}, "crop_size": square(56), "do_pad": True},
    }
    cases = []
    for label, own in settings.items():
        names = ["coffee", "astronaut", "camera"] if label != "llava-1.5" else list(pictures)
        processor = (LlavaImageProcessorPil if own.get("do_pad") else CLIPImageProcessorPil)(**own)
        kind = "LlavaImageProcessor" if own.get("do_pad") else "CLIPImageProcessor"
        for name in names:
            values = numpy.asarray(processor(pictures[name], return_tensors="np")["pixel_values"][0], dtype="<f4")
            cases.append(
                {
                    "label": label,
                    "picture": name,
                    "config": {"image_processor_type": kind, **own},
                    "shape": list(values.shape),
                    "sha256": sha(numpy.ascontiguousarray(values)),
                    "first": [float(x) for x in values[:, 0, 0]],
                }
            )
    extremes = []
    for width, height in [(1, 1), (2000, 10), (10, 2000), (3, 2)]:
        ramp = (numpy.arange(width * height * 3) * 7 % 256).astype("uint8").reshape(height, width, 3)
        values = CLIPImageProcessorPil(size=56, crop_size=56)(Image.fromarray(ramp), return_tensors="np")["pixel_values"][0]
        extremes.append({"size": [width, height], "sha256": sha(numpy.ascontiguousarray(values, dtype="<f4"))})
    return "clip", {"cases": cases, "extremes": extremes}, b""


def siglip(pictures: dict):
    """Like `clip`: resized straight to height × width whatever the aspect, without a crop."""
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    square = lambda side: {"height": side, "width": side}
    settings = {
        "llava-interleave": {"size": square(384), "resample": 3, "rescale_factor": 0.00392156862745098, **half},
        "llava-siglip": {"size": square(42), "resample": 3, "rescale_factor": 0.00392156862745098, **half},
        "defaults": {},
        "other mean and filter": {"size": square(56), "resample": 2, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.25, 0.3]},
        "no normalize": {"size": square(42), "do_normalize": False},
    }
    cases = []
    for label, own in settings.items():
        processor = SiglipImageProcessorPil(**own)
        for name in pictures if label == "llava-siglip" else ["coffee", "camera"]:
            values = numpy.asarray(processor(pictures[name], return_tensors="np")["pixel_values"][0], dtype="<f4")
            cases.append(
                {
                    "label": label,
                    "picture": name,
                    "config": {"image_processor_type": "SiglipImageProcessor", **own},
                    "shape": list(values.shape),
                    "sha256": sha(numpy.ascontiguousarray(values)),
                    "first": [float(x) for x in values[:, 0, 0]],
                    "centre": [float(x) for x in values[:, values.shape[1] // 2, values.shape[2] // 2]],
                }
            )
    extremes = []
    for width, height in [(1, 1), (2000, 10), (10, 2000), (3, 2)]:
        ramp = (numpy.arange(width * height * 3) * 7 % 256).astype("uint8").reshape(height, width, 3)
        processor = SiglipImageProcessorPil(**settings["llava-siglip"])
        values = processor(Image.fromarray(ramp), return_tensors="np")["pixel_values"][0]
        extremes.append({"size": [width, height], "sha256": sha(numpy.ascontiguousarray(values, dtype="<f4"))})
    return "siglip", {"cases": cases, "extremes": extremes}, b""


def qwen2_vl():
    """Patches of ramps of many sizes, some with max_pixels raised beyond 1,003,520, and the sides of random sizes under three limits."""
    sizes = [(1, 1), (200, 300), (3000, 4000), (1200, 300), (300, 1200), (28, 28), (42, 70), (480, 640), (1, 200), (1000, 1000),
             (13, 2000), (57, 57)]
    published = {"min_pixels": 3136, "max_pixels": 12845056}
    limits = [{"min_pixels": 3136, "max_pixels": 1003520}, {"size": {"shortest_edge": 40000, "longest_edge": 90000}}, {}]
    asked = [(size, limits[index % 3], {}) for index, size in enumerate(sizes)]
    asked += [((1000, 1000), published, {"max_pixels": 12845056}), ((1500, 1400), published, {"max_pixels": 1500000}),
              ((300, 400), published, {"max_pixels": 50176})]
    cases = []
    for (height, width), own, raised in asked:
        ramp = (numpy.arange(width * height * 3) * 7 % 256).astype("uint8").reshape(height, width, 3)
        batch = Qwen2VLImageProcessorPil(**own)(Image.fromarray(ramp), return_tensors="np", **raised)
        values = numpy.ascontiguousarray(batch["pixel_values"], dtype="<f4")
        cases.append({"size": [height, width], "config": own, **raised, "grid": [int(x) for x in batch["image_grid_thw"][0]],
                      "shape": list(values.shape), "sha256": sha(values)})
    generator = numpy.random.default_rng(2)
    sides = []
    for limits in [(3136, 12845056), (3136, 1003520), (65536, 100000)]:
        some = [(480, 640), (336, 336), (1000, 1000), (300, 1200), (200, 300), (14, 42), (70, 98), (1, 1), (1, 200), (200, 1)]
        drawn = [tuple(int(x) for x in generator.integers(20, 3000, 2)) for _ in range(60)]
        sides += [[*limits, height, width, *smart_resize(height, width, 28, *limits)] for height, width in some + drawn]
    return "qwen2-vl", {"cases": cases, "sides": sides}, b""


def anyres(pictures: dict):
    """Tiles of the small grid, layouts of both; the layout is pack_image_features run on the features' own row numbers."""
    tiles = []
    small = [[a // 6, b // 6] for a, b in PINPOINTS]
    processor = LlavaNextImageProcessorPil(
        size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}, image_grid_pinpoints=small
    )
    cut = {"tall": ("coffee", (0, 0, 60, 128)), "wide": ("coffee", (0, 10, 192, 51)), "upright": ("coffee", (20, 0, 105, 127))}
    for label, (name, box) in {**{name: (name, (0, 0, *p.size)) for name, p in pictures.items()}, **cut}.items():
        picture = pictures[name].crop(box)
        batch = processor(picture, return_tensors="np")
        values = numpy.ascontiguousarray(batch["pixel_values"][0], dtype="<f4")
        tiles.append(
            {
                "label": label,
                "picture": name,
                "crop": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "imageSize": [int(side) for side in batch["image_sizes"][0]],
                "tiles": [sha(tile) for tile in values],
            }
        )
    layouts = []
    sizes = [(h, w) for h, w in [(128, 192), (144, 144), (128, 60), (41, 192), (127, 85), (1, 1), (7, 2000), (2000, 7), (3, 2)]]
    for height, width in sizes:
        layouts.append({**layout(height, width, small, 56, 4), "tileSize": 56, "patchGrid": 4})
    generator = numpy.random.default_rng(1)
    counts = []
    for _ in range(300):
        height, width = (int(side) for side in generator.integers(1, 2200, 2))
        packed = layout(height, width, PINPOINTS, 336, 24)
        counts.append([height, width, len(packed["sources"]), sha(numpy.asarray(packed["sources"], dtype="<i4"))[:16]])
    content = {"smallPinpoints": small, "pinpoints": PINPOINTS, "tiles": tiles, "layouts": layouts, "counts": counts}
    return "anyres", content, b""


def layout(height: int, width: int, pinpoints: list, tile: int, grid: int) -> dict:
    rows, columns = modeling_llava_next.get_anyres_image_grid_shape((height, width), pinpoints, tile)
    number = rows * columns + 1
    numbered = torch.arange(number * grid * grid, dtype=torch.float32).view(number, grid * grid, 1)
    vision = types.SimpleNamespace(image_size=tile, patch_size=tile // grid)
    model = types.SimpleNamespace(config=types.SimpleNamespace(vision_config=vision, image_grid_pinpoints=pinpoints))
    (packed,), _ = modeling_llava_next.LlavaNextModel.pack_image_features(
        model, [numbered], torch.tensor([[height, width]]), "default", image_newline=torch.tensor([-1.0])
    )
    return {"imageSize": [height, width], "sources": [int(x) for x in packed[:, 0]]}


def decoded(pictures: dict, files: Path):
    """Small files of every kind, and the bytes of ImageOps.exif_transpose(Image.open(file)).convert("RGB")."""
    files.mkdir(parents=True, exist_ok=True)
    for old in files.iterdir():
        old.unlink()
    photo = pictures["coffee"].resize((48, 35), Image.Resampling.LANCZOS)
    grey = pictures["camera"].convert("L").resize((31, 40), Image.Resampling.LANCZOS)
    profile = swapped_profile()

    def save(name: str, picture, **options) -> bytes:
        picture.save(files / name, **options)
        return (files / name).read_bytes()

    larger = pictures["coffee"].crop((20, 30, 148, 118))
    save("photo-q90.jpg", larger, quality=90)
    save("photo-q85.webp", larger, quality=85)
    for quality, subsampling in [(40, 0), (75, 1), (75, 2), (95, 2)]:
        save(f"q{quality}-s{subsampling}.jpg", photo, quality=quality, subsampling=subsampling)
    plain = (files / "q75-s2.jpg").read_bytes()
    save("progressive.jpg", photo, progressive=True)
    save("grey.jpg", grey)
    save("1x1.jpg", photo.crop((0, 0, 1, 1)))
    save("profile.jpg", photo, icc_profile=profile)
    cmyk = bytearray(save("cmyk.jpg", photo.convert("CMYK"), quality=90))
    adobe = cmyk.find(b"Adobe")
    (files / "cmyk-no-adobe.jpg").write_bytes(cmyk[: adobe - 4] + cmyk[adobe + 12 :])
    cmyk[adobe + 11] = 2
    (files / "ycck.jpg").write_bytes(cmyk)
    for orientation in range(2, 10):
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(f"exif-{orientation}.jpg", photo.crop((0, 0, 24, 15)), exif=exif)
    exif[0x0112] = 6
    save("exif-6.png", photo.crop((0, 0, 24, 15)), exif=exif)
    save("exif-6.webp", photo.crop((0, 0, 24, 15)), exif=exif, lossless=True)

    save("rgb.png", photo)
    save("grey.png", grey)
    ramp = Image.linear_gradient("L").resize(photo.size)
    alpha = photo.copy()
    alpha.putalpha(ramp)
    save("alpha.png", alpha)
    save("grey-alpha.png", Image.merge("LA", (grey, ramp.resize(grey.size))))
    palette = photo.quantize(40)
    save("palette.png", palette)
    save("palette-transparent.png", palette, transparency=5)
    save("grey-transparent.png", grey, transparency=grey.getpixel((5, 5)))
    save("rgb-transparent.png", photo, transparency=photo.getpixel((5, 5)))
    save("1-bit.png", grey.convert("1"))
    save("profile.png", photo, icc_profile=profile)
    noise = numpy.random.default_rng(0)
    for name, depth, color, channels in [
        ("2-bit", 2, 0, 1),
        ("4-bit", 4, 0, 1),
        ("16-bit-rgb", 16, 2, 3),
        ("16-bit-grey-alpha", 16, 4, 2),
        ("16-bit-rgba", 16, 6, 4),
        ("16-bit-grey", 16, 0, 1),
    ]:
        row = (11 * depth * channels + 7) // 8
        raw = b"".join(b"\0" + noise.integers(0, 256, row).astype("u1").tobytes() for _ in range(9))
        (files / f"{name}.png").write_bytes(png(11, 9, depth, color, raw))
    raw = b"".join(b"\0" + row.tobytes() for row in numpy.asarray(photo))
    (files / "gamma.png").write_bytes(png(48, 35, 8, 2, raw, chunk(b"gAMA", struct.pack(">I", 100000))))
    (files / "bt2100.png").write_bytes(png(48, 35, 8, 2, raw, chunk(b"cICP", bytes([9, 16, 0, 1]))))

    save("q80.webp", photo, quality=80)
    save("q30.webp", photo, quality=30)
    save("lossless.webp", photo, lossless=True)
    save("alpha.webp", alpha, lossless=True, exact=True)
    save("alpha-q80.webp", alpha, quality=80)
    save("animated.webp", photo, save_all=True, append_images=[photo.rotate(180)], duration=100)

    # Files that PIL refuses, or that lie about themselves.
    frame = plain.find(b"\xff\xc0")
    (files / "12-bit.jpg").write_bytes(plain[: frame + 4] + b"\x0c" + plain[frame + 5 :])
    (files / "truncated.jpg").write_bytes(plain[: len(plain) // 2])
    (files / "without-end.jpg").write_bytes(plain[:-2])
    (files / "header-only.jpg").write_bytes(plain[:100])
    (files / "rubbish-after.jpg").write_bytes(plain + b"rubbish" * 9)
    whole = (files / "rgb.png").read_bytes()
    (files / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (files / "header-only.png").write_bytes(whole[:30])
    broken = bytearray(whole)
    broken[len(broken) // 2] ^= 1
    (files / "broken.png").write_bytes(broken)
    (files / "without-end.png").write_bytes(whole[:-12])
    web = (files / "q80.webp").read_bytes()
    (files / "truncated.webp").write_bytes(web[: len(web) // 2])
    (files / "header-only.webp").write_bytes(web[:25])
    (files / "text.jpg").write_bytes(b"this is not a picture")
    (files / "empty.png").write_bytes(b"")
    (files / "drawing.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>\n')
    save("some.gif", palette)
    save("some.bmp", photo.crop((0, 0, 9, 9)))
    subprocess.run(["jpegtran", "-arithmetic", "-outfile", files / "arithmetic.jpg", files / "q75-s2.jpg"], check=True)

    cases, data = [], b""
    for path in sorted(files.iterdir()):
        try:
            picture = Image.open(path)
            mode = picture.mode
            stored = picture.size
            picture = ImageOps.exif_transpose(picture).convert("RGB")
            cases.append({"file": path.name, "mode": mode, "size": list(picture.size), "storedSize": list(stored)})
            data += picture.tobytes()
        except Exception as error:
            message = str(error).replace(str(path), path.name)
            cases.append({"file": path.name, "error": f"{type(error).__name__}: {message}"})
    return "decode", {"cases": cases}, data


def swapped_profile() -> bytes:
    """sRGB with red and green swapped: a colour profile whose use nobody can overlook."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[16:24] = b"RGB XYZ "
    red, green = profile.find(b"rXYZ"), profile.find(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    profile[24:36] = bytes(12)  # the date, so that the bytes repeat
    profile[84:100] = bytes(16)
    return bytes(profile)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, color: int, raw: bytes, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
