"""Writes tiny-spatial's Controlled_B as a TSV of VLMEvalKit's form: python3 controlled_b_tsv.py FILE.tsv, in a checkout's root."""

import base64
import csv
import json
import sys
from pathlib import Path

FOLDER = Path("weights/tiny-spatial/benchmark/test")
OPTIONS = ["Left", "Right", "Front", "Behind"]

pictures = [row["image_path"] for row in json.loads((FOLDER / "Controlled_B_annotations.json").read_text())]
target = Path(sys.argv[1])
target.parent.mkdir(parents=True, exist_ok=True)
with target.open("w", newline="") as file:
    table = csv.writer(file, delimiter="\t")
    table.writerow(["index", "question", "A", "B", "C", "D", "answer", "image"])
    for line in (FOLDER / "Controlled_B_questions.jsonl").read_text().splitlines():
        row = json.loads(line)
        answer = "ABCD"[OPTIONS.index(row["answer"][0])]
        picture = base64.b64encode((FOLDER / pictures[row["id"]]).read_bytes()).decode()
        table.writerow([row["id"], row["question"], *OPTIONS, answer, picture])
