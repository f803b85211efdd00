"""Metrics of made-up results and pandas' reading of made-up tables, for the tests of src/evaluate.

    pip install -r requirements.txt
    python evaluate_metrics.py

Writes test/golden/evaluate/metrics.json (bootstrap, quantiles, McNemar cells, AUROC, calibration, confusion, yes/no rates,
confidence bins, selective accuracy, overlap with boxes, image processors' geometry, scores of POPE, MME and 3DSRBench) and
tables.json (texts of tab-separated tables with the rows that pandas reads). Inputs are in the files beside their outcomes;
an undefined number is null. Made on the CPU with Python 3.11, numpy 2.4.6, scipy 1.17.1, scikit-learn 1.9.1, pandas 3.1.1,
pillow 13.0.0 and transformers 5.23.0; the versions are written into both files.
"""

import io
import json
import math
import sys
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import numpy
import pandas
import PIL
import scipy
import sklearn
import transformers
from PIL import Image
from scipy.spatial.distance import cosine
from sklearn import metrics
from sklearn.calibration import calibration_curve
from xoshiro import xoshiro_128_star_star

OUT = Path(__file__).resolve().parents[2] / "test" / "golden" / "evaluate"
VERSIONS = {
    "python": sys.version.split()[0],
    "numpy": numpy.__version__,
    "scipy": scipy.__version__,
    "scikit-learn": sklearn.__version__,
    "pandas": pandas.__version__,
    "pillow": PIL.__version__,
    "transformers": transformers.__version__,
}
RANDOM = numpy.random.default_rng(11)


def defined(value):
    """A float for JSON, None where it is undefined."""
    return None if value is None or math.isnan(value) else float(value)


# --- bootstrap ---------------------------------------------------------------------------------------------------------------


def bootstrap_case(values, clusters, **options):
    resamples, level, seed = options.get("numResamples", 2000), options.get("level", 0.95), options.get("seed", 0)
    groups = [[v for v, c in zip(values, clusters) if c == name] for name in dict.fromkeys(clusters)]
    random = xoshiro_128_star_star(seed)
    means = []
    for _ in range(resamples):
        drawn = [groups[(next(random) * len(groups)) >> 32] for _ in groups]
        means.append(numpy.mean(numpy.concatenate(drawn)))
    lower, upper = numpy.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    interval = {"mean": numpy.mean(values), "lower": lower, "upper": upper}
    expected = {key: float(value) for key, value in interval.items()}
    expected |= {"numRows": len(values), "numClusters": len(groups)}
    return {"values": values, "clusters": clusters, "options": options, "expected": expected}


def bootstraps():
    verdicts = [int(v) for v in RANDOM.integers(0, 2, 60)]
    pairs = [f"mug/plate {int(c)}" for c in RANDOM.integers(0, 11, 60)]
    differences = [int(v) for v in RANDOM.integers(-1, 2, 40)]
    return {
        "generator": [
            {"seed": seed, "numbers": [n for n, _ in zip(xoshiro_128_star_star(seed), range(6))]}
            for seed in [0, 1, 1234567, 2**53 - 1]
        ],
        "quantiles": [
            {"values": values, "share": share, "expected": float(numpy.quantile(values, share))}
            for values in [[3.5], [1, 2], [0.1, 0.1, 0.7, 2.25, 9], [-3, -1, 0, 4, 5, 8]]
            for share in [0, 0.025, 0.3, 0.5, 0.975, 1]
        ],
        "cases": [
            bootstrap_case(verdicts, pairs),
            bootstrap_case(verdicts, pairs, seed=7, level=0.9, numResamples=501),
            bootstrap_case(verdicts, list(range(60)), seed=3, numResamples=300),
            bootstrap_case(differences, [0] * 25 + [1] + [2] * 13 + [3], seed=2**40 + 5, numResamples=300),
            bootstrap_case([1, 0, 1], ["one", "one", "one"], numResamples=20),
            bootstrap_case([1], ["one"], numResamples=20),
            bootstrap_case([0.125, 0.7, 1e-3, 5], ["b", "a", "b", "c"], numResamples=100, level=0.5),
        ],
    }


# --- comparisons and curves --------------------------------------------------------------------------------------------------


def mcnemar_tables():
    cases = []
    for size in [0, 1, 9, 50]:
        a, b = RANDOM.integers(0, 2, (2, size)).astype(bool).tolist()
        table = metrics.confusion_matrix(a, b, labels=[True, False]) if size else numpy.zeros((2, 2), int)
        (both, only_a), (only_b, neither) = table.tolist()
        expected = {"both": both, "onlyA": only_a, "onlyB": only_b, "neither": neither}
        cases.append({"a": a, "b": b, "expected": expected})
    return cases


def auroc_case(scores, labels):
    both = len(set(labels)) == 2
    expected = float(metrics.roc_auc_score(labels, scores)) if both else None
    return {"scores": scores, "labels": labels, "expected": expected}


def aurocs():
    labels = RANDOM.integers(0, 2, 40).astype(bool).tolist()
    return [
        auroc_case(RANDOM.normal(size=40).tolist(), labels),
        auroc_case(numpy.round(RANDOM.random(40), 1).tolist(), labels),
        auroc_case([0.5] * 40, labels),
        auroc_case([0.2, 0.1], [True, False]),
        auroc_case([0.1, 0.2], [True, False]),
        auroc_case([0.0, -0.0, -1e300, 1e300], [True, False, True, False]),
        auroc_case([1, 2, 2, 2, 3], [False, True, False, True, True]),
        auroc_case([0.3, 0.4], [True, True]),
        auroc_case([0.3], [False]),
        auroc_case([], []),
    ]


def confidence_bins(confidences, verdicts, edges):
    """pandas' cut: (lower, upper], the first bin with its lower edge."""
    codes = pandas.cut(pandas.Series(confidences, dtype=float), edges, labels=False, include_lowest=True)
    frame = pandas.DataFrame({"code": codes, "confidence": confidences, "verdict": verdicts})
    bins = []
    for code, (lower, upper) in enumerate(zip(edges, edges[1:])):
        rows = frame[frame.code == code]
        bins.append(
            {
                "lower": float(lower),
                "upper": float(upper),
                "count": len(rows),
                "numRight": int(rows.verdict.sum()),
                "accuracy": defined(rows.verdict.astype(float).mean()),
                "meanConfidence": defined(rows.confidence.astype(float).mean()),
            }
        )
    return bins


def calibration_case(confidences, verdicts, bins=10):
    edges = [i / bins for i in range(bins + 1)]
    expected = {"bins": confidence_bins(confidences, verdicts, edges), "count": len(confidences)}
    expected |= {"expectedCalibrationError": None, "brierScore": None}
    if confidences:
        filled = [b for b in expected["bins"] if b["count"]]
        if not any(c == e for c in confidences for e in edges[1:-1]):
            # scikit-learn's edges come from linspace, so its bins agree where no confidence lies on an edge.
            right, predicted = calibration_curve(verdicts, confidences, n_bins=bins)
            assert numpy.allclose(right, [b["accuracy"] for b in filled], rtol=0, atol=1e-12)
            assert numpy.allclose(predicted, [b["meanConfidence"] for b in filled], rtol=0, atol=1e-12)
        gaps = [abs(b["accuracy"] - b["meanConfidence"]) for b in filled]
        expected["expectedCalibrationError"] = float(numpy.average(gaps, weights=[b["count"] for b in filled]))
        expected["brierScore"] = float(metrics.brier_score_loss(verdicts, confidences, labels=[False, True]))
    return {"confidences": confidences, "verdicts": verdicts, "numBins": bins, "expected": expected}


def calibrations():
    verdicts = RANDOM.integers(0, 2, 50).astype(bool).tolist()
    return [
        calibration_case(RANDOM.random(50).tolist(), verdicts),
        calibration_case(numpy.round(RANDOM.random(50), 2).tolist(), verdicts, 20),
        calibration_case([i / 10 for i in range(11)], ([True, False] * 6)[:11]),
        calibration_case([0.35, 0.3, 0.29, 0.15, 0.6, 0.7], [True, False, True, True, False, True], 20),
        calibration_case([0, 1, 1], [False, True, False], 3),
        calibration_case([0.4, 0.41], [True, True], 1),
        calibration_case([], [], 4),
    ]


def quantile_bins(confidences, verdicts, bins):
    codes, edges = pandas.qcut(confidences, bins, labels=False, retbins=True, duplicates="drop")
    counts = numpy.bincount(codes, minlength=len(edges) - 1).tolist()
    return {"confidences": confidences, "verdicts": verdicts, "numBins": bins, "edges": edges.tolist(), "counts": counts}


def selective_case(confidences, verdicts):
    frame = pandas.DataFrame({"confidence": confidences, "right": verdicts})
    points = []
    for threshold in sorted(set(confidences), reverse=True):
        kept = frame[frame.confidence >= threshold]
        point = {"threshold": float(threshold), "numKept": len(kept), "coverage": len(kept) / len(frame)}
        points.append(point | {"accuracy": float(kept.right.mean())})
    return {"confidences": confidences, "verdicts": verdicts, "expected": points}


def confidences():
    verdicts = RANDOM.integers(0, 2, 30).astype(bool).tolist()
    smooth = RANDOM.random(30).tolist()
    tied = numpy.round(RANDOM.random(30), 1).tolist()
    logits = (18 + 7 * RANDOM.random(30)).tolist()
    edged = {"edges": [18, 19.5, 20, 25], "confidences": logits, "verdicts": verdicts}
    return {
        "bins": [edged | {"expected": confidence_bins(logits, verdicts, edged["edges"])}],
        "quantileBins": [
            quantile_bins(smooth, verdicts, 4),
            quantile_bins(tied, verdicts, 5),
            quantile_bins([0.2] * 9 + [0.5], verdicts[:10], 4),
        ],
        "selective": [selective_case(smooth, verdicts), selective_case(tied, verdicts), selective_case([0.5], [True])],
    }


# --- confusion ---------------------------------------------------------------------------------------------------------------


def confusion_case(golds, answers, options):
    labels = [*options, "(other)"]
    named = [answer if answer in options else "(other)" for answer in answers]
    counts = metrics.confusion_matrix(golds, named, labels=labels)[:-1] if golds else numpy.zeros((len(options), len(labels)), int)
    recall = metrics.recall_score(golds, named, labels=options, average=None, zero_division=numpy.nan) if golds else []
    totals = [golds.count(option) for option in options]
    expected = {
        "counts": counts.tolist(),
        "accuracy": float(metrics.accuracy_score(golds, named)) if golds else None,
        "classAccuracy": [defined(value) for value in recall] or [None] * len(options),
        "majority": None,
    }
    if golds:
        most = int(numpy.argmax(totals))
        expected["majority"] = {"option": options[most], "count": totals[most], "accuracy": totals[most] / len(golds)}
    return {"golds": golds, "answers": answers, "options": options, "expected": expected}


def confusions():
    options = ["left", "right", "on", "under"]
    pick = lambda choices, size: [choices[int(i)] for i in RANDOM.integers(0, len(choices), size)]
    return [
        confusion_case(pick(options, 50), pick([*options, None, "Left or right"], 50), options),
        confusion_case(pick(options[:2], 20), pick(options, 20), options),
        confusion_case(["left", "on"], [None, None], options),
        confusion_case(["right", "left", "right", "left"], ["right"] * 4, options),
        confusion_case([], [], options),
    ]


def rates_case(golds, answers):
    word = {True: "yes", False: "no", None: "?"}
    truth, said = [word[g] for g in golds], [word[a] for a in answers]

    def score(function, label):
        if not golds:
            return None
        return defined(function(truth, said, labels=[label], average=None, zero_division=numpy.nan)[0])

    tpr, tnr = score(metrics.recall_score, "yes"), score(metrics.recall_score, "no")
    both = tpr is not None and tnr is not None
    expected = {
        "accuracy": float(metrics.accuracy_score(truth, said)) if golds else None,
        "tpr": tpr,
        "tnr": tnr,
        "balancedAccuracy": float(numpy.mean([tpr, tnr])) if both else None,
        "precision": score(metrics.precision_score, "yes"),
        "f1": score(metrics.f1_score, "yes"),
        "harmonicMean": float(scipy.stats.hmean([tpr, tnr])) if both else None,
        "yesRatio": float(numpy.mean([a is True for a in answers])) if golds else None,
    }
    names = {"truePositives": (1, 1), "falsePositives": (0, 1), "trueNegatives": (0, 0), "falseNegatives": (1, 0)}
    names |= {"undecidedPositives": (1, None), "undecidedNegatives": (0, None)}
    for name, (gold, answer) in names.items():
        expected[name] = sum(g == gold and a == answer for g, a in zip(golds, answers))
    return {"golds": golds, "answers": answers, "expected": expected}


def rates():
    golds = RANDOM.integers(0, 2, 40).astype(bool).tolist()
    answers = [[True, False, None][int(i)] for i in RANDOM.integers(0, 3, 40)]
    return [
        rates_case(golds, answers),
        rates_case(golds, [True] * 40),
        rates_case(golds, [False] * 40),
        rates_case(golds, [None] * 40),
        rates_case(golds, [not gold for gold in golds]),
        rates_case([True, True], [True, False]),
        rates_case([False, False], [True, False]),
        rates_case([False], [False]),
        rates_case([], []),
    ]


# --- boxes -------------------------------------------------------------------------------------------------------------------


def union_area(boxes):
    """Inclusion and exclusion in exact arithmetic."""
    area = Fraction(0)
    for size in range(1, len(boxes) + 1):
        for subset in combinations(boxes, size):
            x0, y0 = max(b[0] for b in subset), max(b[1] for b in subset)
            x1, y1 = min(b[2] for b in subset), min(b[3] for b in subset)
            if x1 > x0 and y1 > y0:
                area += (-1) ** (size + 1) * (x1 - x0) * (y1 - y0)
    return area


def overlap_case(values, shape, boxes, picture, transform, patch_size, scale=1, max_boxes=None):
    """boxes: [x0, y0, x1, y1, confidence or None]; transform: scaleX, scaleY, offsetX, offsetY."""
    rows, columns = shape
    kept = sorted(boxes, key=lambda box: -math.inf if box[4] is None else -box[4])[:max_boxes]
    limits = [Fraction(picture[0]), Fraction(picture[1])] * 2
    mapped = []
    for box in kept:
        x0, y0, x1, y1 = map(Fraction, box[:4])
        grow = (Fraction(scale) - 1) / 2
        grown = [x0 - grow * (x1 - x0), y0 - grow * (y1 - y0), x1 + grow * (x1 - x0), y1 + grow * (y1 - y0)]
        inside = [min(max(value, Fraction(0)), limit) for value, limit in zip(grown, limits)]
        (sx, sy), (ox, oy) = map(Fraction, transform[:2]), map(Fraction, transform[2:])
        mapped.append([inside[0] * sx + ox, inside[1] * sy + oy, inside[2] * sx + ox, inside[3] * sy + oy])
    mask = numpy.zeros(shape)
    side = Fraction(patch_size)
    for row in range(rows):
        for column in range(columns):
            left, top = column * side, row * side
            clipped = [[max(b[0], left), max(b[1], top), min(b[2], left + side), min(b[3], top + side)] for b in mapped]
            mask[row, column] = union_area(clipped) / side**2
    values = numpy.asarray(values, float).reshape(shape)
    empty = values.sum() == 0 or mask.sum() == 0
    return {
        "values": values.ravel().tolist(),
        "shape": shape,
        "boxes": boxes,
        "picture": picture,
        "transform": transform,
        "patchSize": patch_size,
        "scale": scale,
        "maxBoxes": max_boxes,
        "expected": {
            "mask": mask.ravel().tolist(),
            "mass": None if empty else float((values * mask).sum() / values.sum()),
            "cosine": None if empty else float(1 - cosine(values.ravel(), mask.ravel())),
            "coverage": float(mask.mean()),
            "numBoxes": len(kept),
        },
    }


def overlaps():
    values = RANDOM.random(12).tolist()
    boxes = [[10, 20, 50, 60.5, 0.3], [40, 5, 90, 45, None], [0, 0, 100, 12, 0.9], [45, 30, 46, 31, 0.3]]
    whole = [0.42, 0.5, -3.25, 0]
    picture = [100, 80]
    return [
        overlap_case(values, [3, 4], boxes, picture, whole, 10),
        overlap_case(values, [3, 4], boxes, picture, whole, 10, scale=1.2, max_boxes=2),
        overlap_case(values, [3, 4], boxes, picture, whole, 10, scale=4),
        overlap_case(values, [3, 4], boxes, picture, whole, 14, scale=0.5, max_boxes=3),
        overlap_case(values, [4, 3], [[10, 10, 20, 20, None], [10, 10, 20, 20, None]], picture, [1, 1, 0, 0], 10),
        overlap_case(values, [4, 3], [[90, 0, 100, 80, None]], picture, [1, 1, 0, 0], 10),
        overlap_case(values, [4, 3], [], picture, [1, 1, 0, 0], 10),
        overlap_case([0] * 12, [4, 3], boxes, picture, [1, 1, 0, 0], 10),
        overlap_case([1] * 12, [4, 3], [[0, 0, 100, 80, None]], picture, [1, 1, 0, 0], 10),
        overlap_case([1] + [0] * 11, [4, 3], [[0, 0, 5, 10, None]], picture, [1, 1, 0, 0], 10),
    ]


def geometry_case(picture, box, processor, **options):
    """The picture is black but for a white box; the mean of a patch after the real processor is the covered share of it."""
    width, height = picture
    pixels = numpy.zeros((height, width, 3), numpy.uint8)
    x0, y0, x1, y1 = box
    pixels[y0:y1, x0:x1] = 255
    processor = processor(do_normalize=False, do_rescale=False, resample=Image.Resampling.BOX, **options)
    values = numpy.asarray(processor(Image.fromarray(pixels))["pixel_values"][0])[0]
    side = values.shape[0] // 4
    patches = values.reshape(4, side, 4, side).mean((1, 3)) / 255
    return {
        "picture": picture,
        "box": box,
        "imageSize": values.shape[0],
        "padToSquare": options.get("do_pad", False),
        "centerCrop": options.get("do_center_crop", True),
        "resize": options["size"],
        "coverage": numpy.round(patches, 4).ravel().tolist(),
    }


def geometries():
    clip, llava = transformers.CLIPImageProcessorPil, transformers.LlavaImageProcessorPil
    shortest = {"size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}}
    both = {"size": {"height": 56, "width": 56}, "do_center_crop": False}
    return [
        geometry_case([672, 448], [200, 100, 331, 352], clip, **shortest),  # 84×56, 14 columns cut off on either side
        geometry_case([448, 456], [8, 0, 72, 400], clip, **shortest),  # 56×57: the odd row is cut off below
        geometry_case([456, 448], [0, 8, 400, 72], clip, **shortest),
        geometry_case([448, 2247], [0, 900, 448, 1123], clip, **shortest),  # 56×280.9 becomes 56×280
        geometry_case([640, 427], [100, 50, 500, 300], clip, **shortest),
        geometry_case([448, 896], [0, 200, 300, 700], clip, **both),
        geometry_case([896, 448], [100, 100, 800, 400], llava, do_pad=True, image_mean=[0, 0, 0], **shortest),
        geometry_case([441, 448], [0, 0, 441, 224], llava, do_pad=True, image_mean=[0, 0, 0], **shortest),
        geometry_case([448, 448], [0, 0, 448, 448], clip, size={"shortest_edge": 28}, crop_size=shortest["crop_size"]),
    ]


# --- benchmarks --------------------------------------------------------------------------------------------------------------


def pope():
    names = ["random", "popular", "adversarial", "random,popular", "popular,adversarial,random"]
    rows = [
        {
            "category": names[int(RANDOM.integers(len(names)))],
            "gold": ["Yes", "No"][int(RANDOM.integers(2))],
            "answer": ["Yes", "No", "Unknown"][int(RANDOM.integers(3))],
        }
        for _ in range(40)
    ]
    exploded = pandas.DataFrame(rows).assign(category=lambda f: f.category.str.split(",")).explode("category")
    expected = {}
    for name in ["Overall", *exploded.category.unique()]:
        part = exploded if name == "Overall" else exploded[exploded.category == name]
        truth, said = part.gold == "Yes", part.answer == "Yes"
        expected[name] = {
            "count": len(part),
            "accuracy": float((part.gold == part.answer).mean()),
            "precision": float(metrics.precision_score(truth, said)),
            "tpr": float(metrics.recall_score(truth, said)),
            "f1": float(metrics.f1_score(truth, said)),
        }
    return {"rows": rows, "expected": expected}


def mme():
    rows = [
        {"category": category, "picture": f"{picture}.jpg", "isRight": bool(RANDOM.integers(2))}
        for category in ["existence", "count"]
        for picture in range(7)
        for _ in range(2)
    ]
    order = RANDOM.permutation(len(rows)).tolist()
    frame = pandas.DataFrame([rows[i] for i in order])
    expected = {}
    for category, part in frame.groupby("category"):
        accuracy, plus = part.isRight.mean(), part.groupby("picture").isRight.min().mean()
        expected[category] = {"accuracy": float(accuracy), "accuracyPlus": float(plus), "score": float(100 * (accuracy + plus))}
    return {"rows": frame.to_dict("records"), "expected": expected}


def sr_bench():
    rows = [
        {"qid": f"Q{number:07d}{flip}{turn}", "isRight": bool(RANDOM.random() < 0.8)}
        for number in range(12)
        for flip in ["", "-flip"]
        for turn in ["", "-1", "-2"]
    ]
    frame = pandas.DataFrame(rows)
    parts = frame.qid.str.extract(r"^(?P<base>.{8})(?P<flip>(?:-flip)?)(?P<turn>.*)$").assign(isRight=frame.isRight)
    groups = {
        "vanilla": ["base", "flip", "turn"],
        "flip": ["base", "turn"],
        "circular": ["base", "flip"],
        "flip-circular": ["base"],
    }
    expected = {name: float(parts.groupby(keys).isRight.all().mean()) for name, keys in groups.items()}
    return {"rows": rows, "expected": expected}


# --- tables ------------------------------------------------------------------------------------------------------------------

TABLES = {
    "plain": "index\tquestion\tA\n1\tWhere is the cup?\tleft\n2\tWho?\tright\n",
    "no line end at the end": "a\tb\n1\t2",
    "carriage returns": "a\tb\r\n1\t2\r\n3\t4\r\n",
    "old carriage returns": "a\tb\r1\t2\r3\t4\r",
    "quotes": 'a\tb\n"tab\there"\t"line\nend"\n"two ""quotes"""\t""""\n""\t"x"\n',
    "carriage returns in quotes": 'a\tb\n"one\r\ntwo\rthree"\tx\r\n',
    "quotes inside": 'a\tb\n5" wide\tsay "hi"\nx"\t"closed" and more\n"a"b"c"\t"a""b"c\n',
    "quoted header": '"a\tx"\t"b"\n1\t2\n',
    "short rows": "a\tb\tc\n1\n1\t2\n1\t2\t3\n\t\t\n",
    "blank lines": "a\tb\n\n1\t2\n\n\n   \n3\t4\n\n",
    "blank first lines": "\n \na\tb\n1\t2\n",
    "one column": 'a\nx\n\n""\n" "\n y\n',
    "spaces are kept": "a\tb\n  x \t y\n 1\t\n",
    "missing values": "a\tb\n" + "".join(f"{v}\tx\n" for v in ["NA", "None", "null", "NaN", "N/A", "<NA>", "#N/A", "-nan"]),
    "quoted missing values": 'a\tb\n"NA"\t"None"\n""\t"NA "\n',
    "not missing": "a\tb\nnone\tNone.\nnA\t0\nTrue\tYes\n-\t?\n",
    "numbers keep their text": "a\tb\n1.0\t007\n1e3\t\n12345678901234567890\t-0\n",
    "unnamed columns": "\ta\t\n0\tx\ty\n",
    "byte order mark": "\ufeffa\tb\n1\t2\n",
    "byte order mark and quotes": '\ufeff"a"\tb\n1\t2\n',
    "beyond ASCII": "a\tb\nüber\t左边\n🐱\t\u2028x\n",
    "header only": "a\tb\n",
    "commas and apostrophes": "a\tb\n1,2\tit's\n['a', 'b']\t\"['a', \"\"b\"\"]\"\n",
}


def table_case(name, text):
    frame = pandas.read_csv(io.BytesIO(text.encode("utf-8")), sep="\t", dtype=str)
    rows = [{key: value for key, value in row.items() if not pandas.isna(value)} for row in frame.to_dict("records")]
    return {"name": name, "text": text, "columns": frame.columns.tolist(), "rows": rows}


def refused_tables():
    """Texts that pandas refuses too."""
    texts = {"unclosed quote": 'a\tb\n1\t"2\n3\t4\n', "too many fields": "a\tb\n1\t2\n1\t2\t3\n", "empty": ""}
    for text in texts.values():
        try:
            pandas.read_csv(io.BytesIO(text.encode("utf-8")), sep="\t", dtype=str)
        except (pandas.errors.ParserError, pandas.errors.EmptyDataError):
            continue
        raise AssertionError(f"pandas reads {text!r}")
    return texts


def write(name, content):
    text = json.dumps({"versions": VERSIONS, **content}, ensure_ascii=True, allow_nan=False)
    (OUT / name).write_text(text + "\n")


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    write(
        "metrics.json",
        {
            "bootstrap": bootstraps(),
            "mcnemar": mcnemar_tables(),
            "auroc": aurocs(),
            "calibration": calibrations(),
            "confidence": confidences(),
            "confusion": confusions(),
            "rates": rates(),
            "overlap": overlaps(),
            "geometry": geometries(),
            "pope": pope(),
            "mme": mme(),
            "srBench": sr_bench(),
        },
    )
    write(
        "tables.json",
        {"tables": [table_case(*item) for item in TABLES.items()], "refused": refused_tables()},
    )


if __name__ == "__main__":
    main()
