"""The analysis of a made-up run, for the tests of src/evaluate/analysis.ts.

    pip install -r requirements.txt
    python evaluate_analysis.py

Writes test/golden/evaluate/analysis.json: questions of Controlled_A, result lines of three methods with attention per layer and
overlaps per layer and head, and the means and areas under the ROC curve that numpy and scikit-learn give. Among the lines are
ties, a head without attention on the picture, questions without boxes, a picture without a grid, and lines of an earlier
version. An undefined number is null. Made on the CPU with Python 3.11, numpy 2.4.6 and scikit-learn 1.9.1.
"""

import json
import sys
from pathlib import Path

import numpy
import sklearn
from sklearn.metrics import roc_auc_score

OUT = Path(__file__).resolve().parents[2] / "test" / "golden" / "evaluate" / "analysis.json"
RANDOM = numpy.random.default_rng(503)
LAYERS, HEADS, QUESTIONS = 3, 2, 40
RELATIONS = ["Left", "Right", "On", "Under"]
COUNTS = {"left": 900, "right": 400, "on": 700, "under": 50}  # the more frequent half: left and on


def numbers(*shape, digits=4):
    return RANDOM.random(shape).round(digits).tolist()


def line(question, method, answer, confidence):
    """A line with what the analysis reads; `digits` 1 makes ties."""
    digits = 1 if question["id"] % 3 else 4
    overlap = {
        "num_boxes": 2,
        "coverage": numbers(digits=digits),
        "mass": numbers(LAYERS, HEADS, digits=digits),
        "cosine": numbers(LAYERS, HEADS, digits=digits),
        "layer_mass": numbers(LAYERS, digits=digits),
        "layer_cosine": numbers(LAYERS, digits=digits),
    }
    if question["id"] % 11 == 5:
        overlap["mass"][1][0] = overlap["cosine"][1][0] = None
    return {
        "doc_id": question["id"],
        "method": method,
        "target": question["answer"][0],
        "filtered_resps": [answer],
        "confidence": confidence,
        "image_share": numbers(LAYERS),
        "image_entropy": (6 * RANDOM.random(LAYERS)).round(4).tolist(),
        "box_overlap": None if question["id"] % 7 == 3 else overlap,
    }


def run():
    questions = [
        {"id": i, "question": f"Where is the mug in relation to the cup {i // 4}?", "answer": [RELATIONS[i % 4]]} for i in range(QUESTIONS)
    ]
    lines = []
    for question in questions:
        gold = question["answer"][0]
        confidence = float(RANDOM.random())
        said = [gold if RANDOM.random() < 0.6 else str(RANDOM.choice(RELATIONS)) for _ in range(2)]
        lines.append(line(question, "greedy", said[0], confidence))
        lines.append(line(question, "scaling", f"It is {said[1].lower()} of it.", None))
        lines.append(line(question, "always-right", gold, None))
    for one in lines:
        if one["method"] == "scaling" and one["doc_id"] in (8, 20):  # an earlier version
            del one["box_overlap"]
        if one["method"] == "greedy" and one["doc_id"] == 12:  # tiles
            one["image_share"] = one["image_entropy"] = one["box_overlap"] = None
    return questions, lines


# --- the analysis, with numpy and scikit-learn -----------------------------------------------------------------------------------


def mean(values):
    return float(numpy.mean(values)) if values else None


def by_verdict(pairs):
    return {
        "mean": mean([v for v, _ in pairs]),
        "right": mean([v for v, right in pairs if right]),
        "wrong": mean([v for v, right in pairs if not right]),
    }


def auc(pairs):
    verdicts = {right for _, right in pairs}
    return float(roc_auc_score([right for _, right in pairs], [v for v, _ in pairs])) if len(verdicts) == 2 else None


def measure(rows, read):
    pairs = [(read(one["box_overlap"]), right) for one, right in rows if one.get("box_overlap")]
    pairs = [(v, right) for v, right in pairs if v is not None]
    return {"n": len(pairs), **by_verdict(pairs), "auroc": auc(pairs)}


def layer(rows, index, heads):
    out = {
        "layer": index,
        "imageShare": by_verdict([(one["image_share"][index], right) for one, right in rows if one["image_share"]]),
        "imageEntropy": by_verdict([(one["image_entropy"][index], right) for one, right in rows if one["image_entropy"]]),
        "overlap": {
            "mass": measure(rows, lambda o: o["layer_mass"][index]),
            "cosine": measure(rows, lambda o: o["layer_cosine"][index]),
        },
    }
    if heads:
        out["overlap"]["heads"] = {
            kind: [measure(rows, lambda o, k=kind, h=head: o[k][index][h])["auroc"] for head in range(HEADS)] for kind in ("mass", "cosine")
        }
    return out


def familiarity(rows, confidences, classes):
    out = []
    for name, relations in classes.items():
        own = [(one, right) for one, right in rows if one["target"].lower() in relations]
        out.append(
            {
                "familiarity": name,
                "relations": relations,
                "count": len(own),
                "numRight": sum(right for _, right in own),
                "accuracy": mean([float(right) for _, right in own]),
                "meanConfidence": mean([confidences[one["doc_id"]] for one, _ in own]),
                "layers": [layer(own, index, heads=False) for index in range(LAYERS)],
            }
        )
    return out


def expected(lines, classes):
    confidences = {one["doc_id"]: one["confidence"] for one in lines if one["confidence"] is not None}
    methods = []
    for method in ("greedy", "scaling", "always-right"):
        # The paper's rule; no answer here contains "front".
        rows = [(one, one["target"].lower() in one["filtered_resps"][0].lower()) for one in lines if one["method"] == method]
        methods.append(
            {
                "method": method,
                "numRight": sum(right for _, right in rows),
                "numWrong": sum(not right for _, right in rows),
                "numUnjudged": 0,
                "numWithoutAttention": sum(one["image_share"] is None for one, _ in rows),
                "coverage": measure(rows, lambda o: o["coverage"]),
                "layers": [layer(rows, index, heads=True) for index in range(LAYERS)],
                "familiarity": familiarity(rows, confidences, classes),
            }
        )
    with_boxes = {one["doc_id"] for one in lines if one.get("box_overlap")}
    return {
        "boxes": {"numQuestions": QUESTIONS, "numWithBoxes": len(with_boxes), "numWithoutBoxes": QUESTIONS - len(with_boxes)},
        "methods": methods,
    }


def main():
    questions, lines = run()
    golden = {
        "versions": {"python": sys.version.split()[0], "numpy": numpy.__version__, "scikit-learn": sklearn.__version__},
        "questions": questions,
        "lines": lines,
        "expected": expected(lines, {"familiar": ["left", "right"], "unfamiliar": ["on", "under"]}),
        "counts": COUNTS,
        "expectedFromCounts": [
            method["familiarity"] for method in expected(lines, {"familiar": ["left", "on"], "unfamiliar": ["right", "under"]})["methods"]
        ],
    }
    OUT.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
