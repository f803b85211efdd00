"""The validation halves of CPython's random.sample, for test/evaluate/python-random.test.ts.

    python tools/goldens/evaluate_split.py test/golden/evaluate

Writes split.json: per number of rows n the ids of the validation half, sorted(random.sample(range(n), int(0.2 * n))) after
random.seed(1): how many, the first and the last six, and the SHA-256 of all of them joined by commas; the same of the test
half; and samples of other sizes and seeds in the order in which random.sample returns them, which take both of its branches.
CPython 3.11.7 made it; 3.10.13, 3.12.1 and 3.13.0 give the same file, but for its version.
"""

import hashlib
import json
import platform
import random
import sys
from pathlib import Path

ROWS = [0, 1, 4, 5, 82, 291, 408, 412, 440, 1160, 1222, 2247]
SAMPLES = [(1, 10, 10), (2, 21, 5), (3, 22, 5), (4, 37, 6), (5, 85, 6), (6, 86, 6), (7, 1000, 30), (0, 277, 22),
           (2**40 + 5, 278, 22), (-9, 50, 7), (11, 1, 1), (12, 5, 0), (13, 4_000_000_000, 4)]


def described(ids):
    text = ",".join(map(str, ids))
    return {"count": len(ids), "first": ids[:6], "last": ids[-6:], "sha256": hashlib.sha256(text.encode()).hexdigest()}


def halves(rows):
    random.seed(1)
    validation = sorted(random.sample(range(rows), int(0.2 * rows)))
    test = sorted(set(range(rows)) - set(validation))
    return {"rows": rows, "validation": described(validation), "test": described(test)}


def sample(seed, n, k):
    random.seed(seed)
    return {"seed": seed, "n": n, "k": k, "ids": random.sample(range(n), k)}


def main(folder):
    result = {
        "generator": "tools/goldens/evaluate_split.py",
        "python": platform.python_version(),
        "splits": [halves(rows) for rows in ROWS],
        "samples": [sample(*arguments) for arguments in SAMPLES],
    }
    Path(folder, "split.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
