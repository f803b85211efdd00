"""Made-up questions and recorded answers with every oddity of the file forms, and their scores, for test/evaluate/rescore.test.ts.

    python tools/goldens/evaluate_rescore.py test/golden/evaluate/rescore

Writes questions, answers and verdicts (none of them anybody's results: texts and numbers come from a seeded generator), and
expected.json, which lists the cases and what an independent implementation finds: definitions in plain Python with exact
fractions, numpy for the rounding of confidences, for sampled_idx.npy and for resampling, pandas for bins and groups, scikit-learn
for the confusion matrix, AUROC and Brier score. CPython 3.11.7, numpy 2.4.6, pandas 3.1.1, scikit-learn 1.9.1.
"""

import json
import platform
import random
import re
import sys
from fractions import Fraction
from functools import cache
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
from sklearn import metrics
from xoshiro import xoshiro_128_star_star

FACTORS = ["1.0", "0.5", "0.8", "1.2", "1.5", "2.0"]
OPTIONS = {
    "Controlled_A": ["left", "right", "on", "under"],
    "Controlled_B": ["left", "right", "front", "behind"],
    "COCO_one": ["left", "right", "top", "bottom"],
    "VG_two": ["left", "right", "front", "behind", "above", "below"],
    "VSR": ["yes", "no"],
}
THINGS = ["mug", "book", "wooden bowl", "lemon", "scissors", "cap", "toilet roll", "sunglasses", "can", "phone", "spoon"]
PLACES = ["table", "armchair", "chair", "floor lamp"]


# --- made-up files -----------------------------------------------------------------------------------------------------------

def question_text(dataset, first, second, odd):
    is_plural = first.endswith("s")
    verb = "are" if is_plural else "is"
    options = OPTIONS[dataset]
    listed = ", ".join(options[:-1]) + (", or " if odd == 1 else " or ") + options[-1]
    about = f"in relation to the {second}" if second else "in the photo"
    before = " \n" if odd == 2 else " "
    end = ".." if odd == 3 else "."
    last = "\n\n" if odd == 4 else "\n"
    return f"<image>\nUSER: Where {verb} the {first} {about}?{before}Answer with {listed}{end}{last}ASSISTANT:"


def make_questions(dataset, rng, count):
    if dataset == "VSR":
        rows = []
        for index in range(count):
            relation = rng.choice(["on top of", "Left of", "facing  away from", "under"])
            rows.append({"image": f"{index:012d}.jpg", "caption": f"The cat is {relation} the {rng.choice(PLACES)}.",
                         "label": int(rng.random() < 0.5), "relation": relation})
        return rows
    rows = []
    for index in range(count):
        if dataset.startswith("Controlled"):
            group = index // 4
            first, second = THINGS[group % len(THINGS)], PLACES[group // len(THINGS) + group % 2]
            gold = OPTIONS[dataset][index % 4]
        else:
            first, second = rng.choice(THINGS), None if dataset == "COCO_one" else rng.choice(PLACES)
            gold = rng.choice(OPTIONS[dataset])
        rows.append({"id": index, "question": question_text(dataset, first, second, rng.randrange(8)),
                     "answer": [gold.capitalize()]})
    return rows


def gold_of(row):
    return ("Yes" if row["label"] else "No") if "label" in row else row["answer"][0]


def make_text(dataset, gold, rng, skill):
    options = OPTIONS[dataset]
    said = gold.lower() if rng.random() < skill else rng.choice(options)
    other = rng.choice(options)
    if dataset == "VSR":
        return rng.choice([said.capitalize()] * 6 + [said, f" {said.capitalize()}.", "Yes or No", "Nothing", "Yesterday", "",
                                                     f"{said.capitalize()}, it is.", "It is not."])
    return rng.choice([
        said.capitalize(), said.capitalize(), said.capitalize(), said.capitalize(), said, f" {said.capitalize()}", f"{said.capitalize()}.",
        f"{said.upper()} .", f"The lemon is {said} the table.", f"It is {said}, not {other}.", f"{said.capitalize()} {other.capitalize()}",
        f"{said.capitalize()} Front", "The lemon is in a wooden bowl.", "On the front.", f"{said}-hand side", f"{said}ward", f"_{said}",
        f"{said}\u00e9", f"\u00e9 {said}", "", "  ", "Bottom-left", f"{said.capitalize()}, {said}",
    ])


def make_distribution(options, rng, tie):
    weights = [rng.random() ** 3 + 1e-3 for _ in options]
    if tie:
        weights[1] = weights[2 % len(options)] = max(weights)
    total = sum(weights)
    return {option.capitalize(): weight / total for option, weight in zip(options, weights)}


def make_confidence(rng, beta):
    """Mostly anything, often near the threshold, where rounding decides; halves of a hundredth go to the even neighbour."""
    return rng.choice([rng.random(), rng.random(), beta - 0.004, beta - 0.006, beta + 0.004, beta - 0.005, beta + 0.005,
                       beta, 0.125, 0.375])


def write_json(folder, name, value):
    Path(folder, name).write_text(json.dumps(value, indent=1) + "\n")


def write_lines(folder, name, rows):
    Path(folder, name).write_text("".join(json.dumps(row) + "\n" for row in rows))


# --- the independent implementation ------------------------------------------------------------------------------------------

def half_of(count, name):
    random.seed(1)
    validation = sorted(random.sample(range(count), int(0.2 * count)))
    return {"validation": validation, "all": list(range(count)),
            "test": [index for index in range(count) if index not in set(validation)]}[name]


def share(count, of):
    of = Fraction(of)
    return {"count": count, "of": float(of), "fraction": float(count / of) if of else None,
            "percent": float(100 * count / of) if of else None}


def occurring(text, options):
    return [option for option in options if re.search(rf"\b{option}\b", text.lower())]


def paper_rule(dataset, text, gold):
    if dataset == "VSR":
        return gold in text
    if gold.lower() == "on" and "front" in text.lower():
        return False
    return gold.lower() in text.lower()


def judge(dataset, rule, answer, gold):
    options = OPTIONS[dataset]
    if rule in ("paper", "exactlyOne"):
        if answer.get("text") is None:
            return None
        return paper_rule(dataset, answer["text"], gold) if rule == "paper" else occurring(answer["text"], options) == [gold.lower()]
    scores = answer.get(rule)
    if scores is None:
        return None
    return max(scores, key=scores.get).lower() == gold.lower()


def objects(row):
    found = re.search(r"Where (?:is|are) the (.+?) in relation to the (.+?)\?", row.get("question", ""))
    return found.groups() if found else None


def groups(rows, kinds):
    """rows: (objects, relation, is right). A kind is a tuple of relations."""
    right = complete = started = 0
    for pair in {pair for pair, _, _ in rows if pair}:
        verdicts = {}
        for other, relation, is_right in rows:
            if other == pair:
                verdicts[relation] = verdicts.get(relation, True) and is_right
        for kind in kinds:
            started += any(relation in verdicts for relation in kind)
            complete += all(relation in verdicts for relation in kind)
            right += all(verdicts.get(relation, False) for relation in kind)
    size = len(kinds[0])
    return {"right": share(right, Fraction(len(rows), size)), "ceiling": share(complete, Fraction(len(rows), size)),
            "rightOfComplete": share(right, complete), "completeOfStarted": share(complete, started)}


def yes_no(judged):
    tp = sum(is_right for gold, is_right in judged if gold == "Yes")
    fn = sum(not is_right for gold, is_right in judged if gold == "Yes")
    tn = sum(is_right for gold, is_right in judged if gold == "No")
    fp = sum(not is_right for gold, is_right in judged if gold == "No")
    tpr, tnr = Fraction(tp, tp + fn), Fraction(tn, tn + fp)
    return {"truePositives": tp, "falseNegatives": fn, "trueNegatives": tn, "falsePositives": fp,
            "truePositiveRate": share(tp, tp + fn), "trueNegativeRate": share(tn, tn + fp),
            "balancedAccuracy": float((tpr + tnr) / 2), "precision": float(Fraction(tp, tp + fp)),
            "f1": float(Fraction(2 * tp, 2 * tp + fp + fn)),
            "harmonicMeanOfRates": float(2 * tpr * tnr / (tpr + tnr)) if tpr + tnr else None}


def score_rule(dataset, rule, answers, rows):
    judged = [(row, verdict) for row, answer in zip(rows, answers) if answer is not None
              for verdict in [judge(dataset, rule, answer, gold_of(row))] if verdict is not None]
    if not judged:
        return None
    options = OPTIONS[dataset]
    has_pairs = dataset.startswith("Controlled")
    triples = [(objects(row), gold_of(row).lower(), verdict) for row, verdict in judged]
    relations = {}
    for row, verdict in judged:
        relation = " ".join(row["relation"].lower().split()) if "relation" in row else gold_of(row).lower()
        relations.setdefault(relation, []).append(verdict)
    return {
        "n": len(judged),
        "individual": share(sum(verdict for _, verdict in judged), len(judged)),
        "pairs": groups(triples, [tuple(options[:2]), tuple(options[2:])]) if has_pairs else None,
        "sets": groups(triples, [tuple(options)]) if has_pairs else None,
        "byRelation": {relation: share(sum(verdicts), len(verdicts)) for relation, verdicts in relations.items()},
        "yesNo": yes_no([(gold_of(row), verdict) for row, verdict in judged]) if dataset == "VSR" else None,
    }


def score_run(dataset, answers, rows):
    options = OPTIONS[dataset]
    answered = [(answer, row) for answer, row in zip(answers, rows) if answer is not None]
    texts = [answer["text"] for answer, _ in answered if answer.get("text") is not None]
    golds = [gold_of(row).lower() for _, row in answered]
    best = max(options, key=golds.count)
    bare = re.compile(rf"\s*({'|'.join(options)})\s*\.?\s*", re.IGNORECASE)
    begins = re.compile(rf"\s*({'|'.join(options)})\b", re.IGNORECASE)
    numbers = [len(occurring(text, options)) for text in texts]
    return {
        "n": len(answered),
        "text": None if not texts else {
            "empty": share(sum(not text.strip() for text in texts), len(texts)),
            "bareOption": share(sum(bool(bare.fullmatch(text)) for text in texts), len(texts)),
            "beginsWithOption": share(sum(bool(begins.match(text)) for text in texts), len(texts)),
            "noOption": share(numbers.count(0), len(texts)),
            "oneOption": share(numbers.count(1), len(texts)),
            "severalOptions": share(sum(number > 1 for number in numbers), len(texts)),
        },
        "majority": {"answer": best, "share": share(golds.count(best), len(golds))},
        "rules": {rule: score_rule(dataset, rule, answers, rows) for rule in ("paper", "exactlyOne", "firstToken", "wholeString")},
    }


def mcnemar(dataset, runs, rows):
    """runs: name → answers, of one file."""
    tests = []
    names = list(runs)
    for rule in ("paper", "exactlyOne", "firstToken", "wholeString"):
        for index, a in enumerate(names):
            for b in names[index + 1:]:
                cells = {"both": 0, "onlyA": 0, "onlyB": 0, "neither": 0}
                for row, first, second in zip(rows, runs[a], runs[b]):
                    verdicts = [None if answer is None else judge(dataset, rule, answer, gold_of(row)) for answer in (first, second)]
                    if None not in verdicts:
                        cells[{(True, True): "both", (True, False): "onlyA", (False, True): "onlyB", (False, False): "neither"}[tuple(verdicts)]] += 1
                n = sum(cells.values())
                if n:
                    tests.append({"a": a, "b": b, "rule": rule, "n": n, **cells, "p": exact_p(cells["onlyA"], cells["onlyB"]),
                                  "difference": difference(dataset, rule, runs[a], runs[b], rows)})
    return tests


# --- metrics ------------------------------------------------------------------------------------------------------------------

@cache
def draws(number):
    """2,000 resamples with seed 0, each of as many clusters as there are."""
    generator = xoshiro_128_star_star(0)
    return np.array([[(next(generator) * number) >> 32 for _ in range(number)] for _ in range(2000)])


def interval(values, clusters):
    """95 % percentile interval of a mean whose clusters are drawn with replacement."""
    names = list(dict.fromkeys(clusters))
    members = [[value for value, cluster in zip(values, clusters) if cluster == name] for name in names]
    sums, sizes = np.array([sum(m) for m in members]), np.array([len(m) for m in members])
    drawn = draws(len(names))
    lower, upper = np.quantile(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [0.025, 0.975])
    return {"mean": float(np.mean(values)), "lower": float(lower), "upper": float(upper), "numRows": len(values), "numClusters": len(names)}


def cluster(index, row):
    return objects(row) or ("row", index)


def difference(dataset, rule, first, second, rows):
    values, clusters = [], []
    for index, (row, a, b) in enumerate(zip(rows, first, second)):
        verdicts = [None if answer is None else judge(dataset, rule, answer, gold_of(row)) for answer in (a, b)]
        if None not in verdicts:
            values.append(int(verdicts[1]) - int(verdicts[0]))
            clusters.append(cluster(index, row))
    return interval(values, clusters)


def defined(value):
    return None if value is None or np.isnan(value) else float(value)


def binned(frame, edges):
    codes = pd.cut(frame.confidence, edges, labels=False, include_lowest=True)
    bins = []
    for code, (lower, upper) in enumerate(zip(edges, edges[1:])):
        own = frame[codes == code]
        bins.append({"lower": float(lower), "upper": float(upper), "count": len(own), "numRight": int(own.right.sum()),
                     "accuracy": defined(own.right.mean()), "meanConfidence": defined(own.confidence.mean())})
    return bins


def confidence_metrics(confidences, verdicts):
    if not confidences:
        return None
    frame = pd.DataFrame({"confidence": confidences, "right": np.array(verdicts, dtype=float)})
    bins = binned(frame, [index / 10 for index in range(11)])
    filled = [each for each in bins if each["count"]]
    return {
        "bins": bins,
        "expectedCalibrationError": float(np.average([abs(b["accuracy"] - b["meanConfidence"]) for b in filled], weights=[b["count"] for b in filled])),
        "brierScore": float(metrics.brier_score_loss(verdicts, confidences, labels=[False, True])),
        "count": len(confidences),
        "byConfidence": binned(frame, pd.qcut(frame.confidence, 4, retbins=True, duplicates="drop")[1].tolist()),
        "auroc": float(metrics.roc_auc_score(verdicts, confidences)) if len(set(verdicts)) == 2 else None,
    }


def familiarity(judged):
    """judged: (relation or None, is right, confidence or None)."""
    frame = pd.DataFrame(judged, columns=["relation", "right", "confidence"]).dropna(subset="relation")
    if frame.empty:
        return None
    known = frame.relation.map(lambda relation: bool({"left", "right"} & set(re.split(r"\W+", relation.lower()))))
    result = {}
    for name, own in (("familiar", frame[known]), ("unfamiliar", frame[~known])):
        confidences = own.confidence.dropna().astype(float)
        result[name] = {"relations": list(dict.fromkeys(own.relation)), "count": len(own), "numRight": int(own.right.sum()),
                        "accuracy": defined(own.right.astype(float).mean()), "meanConfidence": defined(confidences.mean())}
    return result


def confusion(dataset, answers, rows):
    options = OPTIONS[dataset]
    golds, said = [], []
    for answer, row in zip(answers, rows):
        if answer is not None and answer.get("text") is not None:
            found = occurring(answer["text"], options)
            golds.append(gold_of(row).lower())
            said.append(found[0] if len(found) == 1 else "(other)")
    if not golds:
        return None
    counts = metrics.confusion_matrix(golds, said, labels=[*options, "(other)"])[:-1]
    recall = metrics.recall_score(golds, said, labels=options, average=None, zero_division=np.nan)
    return {"options": options, "counts": counts.tolist(), "numAnswers": len(golds), "numOther": said.count("(other)"),
            "accuracy": float(metrics.accuracy_score(golds, said)),
            "byClass": [{"option": option, "count": golds.count(option), "numRight": int(counts[index][index]), "accuracy": defined(recall[index])}
                        for index, option in enumerate(options)]}


def measure(dataset, answers, rows, confidences):
    rules = {}
    for rule in ("paper", "exactlyOne"):
        judged = [(index, row, verdict, confidences[index]) for index, (row, answer) in enumerate(zip(rows, answers)) if answer is not None
                  for verdict in [judge(dataset, rule, answer, gold_of(row))] if verdict is not None]
        sure = [(verdict, confidence) for _, _, verdict, confidence in judged if confidence is not None]
        rules[rule] = None if not judged else {
            "individual": interval([int(verdict) for _, _, verdict, _ in judged], [cluster(index, row) for index, row, _, _ in judged]),
            "confidence": confidence_metrics([confidence for _, confidence in sure], [verdict for verdict, _ in sure]),
            "familiarity": familiarity([(relation_of(row), verdict, confidence) for _, row, verdict, confidence in judged]),
        }
    return {"confusion": confusion(dataset, answers, rows), "rules": rules}


def relation_of(row):
    if "label" in row:
        return " ".join(row["relation"].lower().split()) if "relation" in row else None
    return gold_of(row).lower()


def comparison(questions, a, b, rule):
    """Two runs of one data set by question id; a and b: (case, run)."""
    dataset = a[0]["dataset"]
    verdicts = []
    for case, run in (a, b):
        answers = zip(half_of(len(questions), case["split"]), case["recordedAnswers"][run])
        judged = {index: judge(dataset, rule, answer, gold_of(questions[index])) for index, answer in answers if answer is not None}
        verdicts.append({index: verdict for index, verdict in judged.items() if verdict is not None})
    first, second = verdicts
    frame = pd.DataFrame([{"id": index, "relation": relation_of(questions[index]), "cluster": cluster(index, questions[index]),
                           "a": first[index], "b": second[index]} for index in sorted(first.keys() & second.keys())])
    broken, fixed = frame[frame.a & ~frame.b], frame[~frame.a & frame.b]
    return {
        "dataset": dataset, "rule": rule, "questions": a[0]["questions"],
        "a": {"file": a[0]["answers"], "split": a[0]["split"], "run": a[1], "numJudged": len(first), "individual": share(int(frame.a.sum()), len(frame))},
        "b": {"file": b[0]["answers"], "split": b[0]["split"], "run": b[1], "numJudged": len(second), "individual": share(int(frame.b.sum()), len(frame))},
        "n": len(frame), "both": int((frame.a & frame.b).sum()), "onlyA": len(broken), "onlyB": len(fixed), "neither": int((~frame.a & ~frame.b).sum()),
        "p": exact_p(len(broken), len(fixed)),
        "difference": interval((frame.b.astype(int) - frame.a.astype(int)).tolist(), frame.cluster.tolist()),
        "byRelation": {relation: {"a": share(int(own.a.sum()), len(own)), "b": share(int(own.b.sum()), len(own)),
                                  "onlyA": int((own.a & ~own.b).sum()), "onlyB": int((~own.a & own.b).sum())}
                       for relation, own in frame.groupby("relation")},
        "fixed": fixed.id.tolist(), "broken": broken.id.tolist(),
    }


def exact_p(only_a, only_b):
    n, k = only_a + only_b, min(only_a, only_b)
    return float(min(Fraction(1), 2 * sum(Fraction(comb(n, i), 2**n) for i in range(k + 1))))


def below(rounded, unrounded, beta):
    kept = [value for value in rounded if value is not None]
    full = [value for value in unrounded if value is not None]
    return {"beta": beta, "rounded": share(sum(value < beta for value in kept), len(kept)),
            "unrounded": share(sum(value < beta for value in full), len(full)) if full else None}


def expected(dataset, rows, runs, *, form, gate, below_beta=None, confidences=None, **rest):
    """What a report on one file holds; runs that are refused are not among `runs`."""
    return {
        "form": form,
        "n": max(sum(answer is not None for answer in answers) for answers in runs.values()),
        "expected": len(rows),
        "gate": gate,
        "belowBeta": below_beta,
        "runs": {name: score_run(dataset, answers, rows) for name, answers in runs.items()},
        "metrics": {name: measure(dataset, answers, rows, confidences or [None] * len(rows)) for name, answers in runs.items()},
        "mcNemar": mcnemar(dataset, runs, rows),
        "recordedAnswers": runs,  # for comparisons; not written
        **rest,
    }


def right_positions(dataset, answers, rows):
    return [position for position, (answer, row) in enumerate(zip(answers, rows))
            if answer is not None and judge(dataset, "paper", answer, gold_of(row))]


def gate_run(runs, rounded, alpha1, alpha2, beta):
    return [runs[alpha1 if value < beta else alpha2][position] for position, value in enumerate(rounded)]


# --- the cases ---------------------------------------------------------------------------------------------------------------

def prompts_of(rows, rng):
    """Prompts, and how many are equal, few-shot, reworded with the clause, and neither."""
    kinds = {"equal": 0, "endsWithQuestion": 0, "headOnly": 0, "containsClause": 0, "other": 0, "absent": 0}
    prompts = []
    for row in rows:
        kind = rng.choice(["equal"] * 5 + ["endsWithQuestion", "containsClause", "other"])
        kinds[kind] += 1
        question = row["question"]
        clause = re.search(r"Where.*?\?", question, re.DOTALL).group()
        prompts.append({"equal": question, "endsWithQuestion": f"USER: Where is the cat in relation to the rug?\nASSISTANT: On.\n{question}",
                        "containsClause": f"<image>\nUSER: {clause} Think step by step.\nASSISTANT:",
                        "other": "<image>\nUSER: Describe the picture.\nASSISTANT:"}[kind])
    return prompts, kinds


def case_plain(folder, questions):
    """Greedy of Controlled_A: raw logits as uncertainty, a Distribution per row, few-shot and reworded prompts, agreeing scores."""
    rng = random.Random(11)
    rows = [questions[index] for index in half_of(len(questions), "test")]
    prompts, kinds = prompts_of(rows, rng)
    answers = [{"text": make_text("Controlled_A", gold_of(row), rng, 0.6), "firstToken": make_distribution(OPTIONS["Controlled_A"], rng, index % 7 == 0)}
               for index, row in enumerate(rows)]
    name = "results1.5_Controlled_Images_A_base_1.0_fouroption_True.json"
    write_json(folder, name, [{"Prompt": prompt, "Generation": answer["text"], "Golden": gold_of(row), "Distribution": answer["firstToken"],
                               "uncertainty": 18 + 7 * rng.random()} for prompt, answer, row in zip(prompts, answers, rows)])
    right = right_positions("Controlled_A", answers, rows)
    write_json(folder, name.replace(".json", "scores.json"), {"acc": len(right) / len(rows), "correct_id": right})
    scores = score_run("Controlled_A", answers, rows)["rules"]["paper"]
    line = {"dataset": "Controlled_Images_A", "model": "llava1.5", "option": "four", "method": "base", "weight": 1.0,
            "Individual accuracy": scores["individual"]["percent"], "Pair accuracy": scores["pairs"]["right"]["percent"],
            "Set accuracy": scores["sets"]["right"]["percent"], "correct_id": right}
    other = {**line, "Individual accuracy": 0.0, "Pair accuracy": 0.0, "Set accuracy": 0.0, "correct_id": []}
    coco = {"dataset": "COCO_QA_one_obj", "method": "base", "weight": 1.0, "Individual accuracy": 0.5, "correct_id": [0, 2]}
    Path(folder, "res.json").write_text("\n".join([json.dumps(other), '{"dataset": "Controlled_Images_A", "corr', json.dumps(coco),
                                                   '{"TP": 3}' + json.dumps(line), json.dumps(line)]) + "\n")
    return {"name": "plain array, raw logits, few-shot and reworded prompts", "dataset": "Controlled_A", "split": "test",
            "questions": "controlled_a.jsonl", "answers": name, "prompts": kinds,
            **expected("Controlled_A", rows, {"answer": answers}, form="plain", gate=None, recorded="agrees")}


def case_sweep(folder, questions):
    """Six factors as {generation, distribution_map}, a gated answer, rounded and unrounded confidences."""
    rng = random.Random(12)
    dataset, beta = "Controlled_A", 0.4
    rows = [questions[index] for index in half_of(len(questions), "test")]
    runs = {factor: [{"text": make_text(dataset, gold_of(row), rng, 0.7), "firstToken": make_distribution(OPTIONS[dataset], rng, False)}
                     for row in rows] for factor in FACTORS}
    unrounded = [make_confidence(rng, beta) for _ in rows]
    rounded = [float(np.round(value, 2)) for value in unrounded]
    gated = [{"text": answer["text"]} for answer in gate_run(runs, rounded, "0.5", "1.5", beta)]
    gated[3] = {"text": "Something else"}
    name = "results_Controlled_Images_A_adapt_vis_var_uncertainties_var_weights_1.0_0.5_1.5_0.4_True.json"
    write_json(folder, name, [
        {"Prompt": row["question"], "Generation": gated[index]["text"],
         "Generation_map": {factor: {"generation": runs[factor][index]["text"], "distribution_map": runs[factor][index]["firstToken"]} for factor in FACTORS},
         "Distribution_map": runs["2.0"][index]["firstToken"], "Golden": gold_of(row), "Uncertainty": rounded[index],
         "Uncertainties": {"confidence": unrounded[index], "kld": 0.1, "jsd": 0.01, "entropy": 0.9}}
        for index, row in enumerate(rows)])
    anew = gate_run(runs, rounded, "0.5", "1.5", beta)
    return {"name": "six-factor sweep of objects with a gated answer", "dataset": dataset, "split": "test",
            "questions": "controlled_a.jsonl", "answers": name,
            **expected(dataset, rows, {**runs, "gated": gated, "gate 0.5/1.5 at 0.4": anew}, form="sweep", gate="gate 0.5/1.5 at 0.4",
                       below_beta=below(rounded, unrounded, beta), confidences=unrounded, equalToRecorded={"count": len(rows) - (anew[3]["text"] != "Something else"), "of": len(rows)})}


def case_text_sweep(folder, questions):
    """Three factors as texts in Generation, only measures that are not the confidence: no gate; one factor wholly empty."""
    rng = random.Random(13)
    dataset = "Controlled_B"
    rows = [questions[index] for index in half_of(len(questions), "validation")]
    factors = ["1.0", "0.5", "1.2"]
    runs = {factor: [{"text": make_text(dataset, gold_of(row), rng, 0.5)} for row in rows] for factor in factors[:2]}
    write_json(folder, "b_sweep_texts.json", [
        {"Prompt": row["question"], "Generation": {**{factor: runs[factor][index]["text"] for factor in runs}, "1.2": " " if index % 2 else ""},
         "Golden": gold_of(row), "uncertainty_prob": rng.random(), "uncertainty_jsd": rng.random(), "uncertainty_entropy": None,
         "uncertainty_margin": rng.random()} for index, row in enumerate(rows)])
    return {"name": "three-factor sweep of texts without a confidence, one factor empty", "dataset": dataset, "split": "validation",
            "questions": "controlled_b.jsonl", "answers": "b_sweep_texts.json",
            **expected(dataset, rows, runs, form="sweep", gate=None, refused=["1.2"])}


def case_text_map(folder, questions):
    """Generation_map of texts, the last factor's Distribution_map and greedy's distribution_map beside it, confidences in lists."""
    rng = random.Random(14)
    dataset, beta = "Controlled_B", 0.35
    rows = [questions[index] for index in half_of(len(questions), "test")]
    runs = {factor: [{"text": make_text(dataset, gold_of(row), rng, 0.7)} for row in rows] for factor in FACTORS}
    for factor in ("1.0", "2.0"):
        for answer in runs[factor]:
            answer["firstToken"] = make_distribution(OPTIONS[dataset], rng, False)
    unrounded = [make_confidence(rng, beta) for _ in rows]
    rounded = [float(np.round(value, 2)) for value in unrounded]
    anew = gate_run(runs, rounded, "0.8", "2.0", beta)
    write_json(folder, "b_map_texts.json", [
        {"Prompt": row["question"], "Generation_map": {factor: runs[factor][index]["text"] for factor in FACTORS},
         "Distribution_map": runs["2.0"][index]["firstToken"], "distribution_map": runs["1.0"][index]["firstToken"], "Golden": gold_of(row).upper(),
         "uncertainties": {"confidence": [unrounded[index], None], "kld": [0.1, None], "jsd": [0.1, None], "entropy": 0.5}}
        for index, row in enumerate(rows)])
    return {"name": "six-factor sweep of texts, confidences in lists, other alphas", "dataset": dataset, "split": "test",
            "questions": "controlled_b.jsonl", "answers": "b_map_texts.json", "settings": {"alpha1": 0.8, "alpha2": 2.0},
            **expected(dataset, rows, {**runs, "gate 0.8/2 at 0.35": anew}, form="sweep", gate="gate 0.8/2 at 0.35",
                       below_beta=below(rounded, unrounded, beta), confidences=unrounded)}


def case_vg(folder, questions):
    """Entries {Generation, Distribution}, some confidences null: counted, but no gate."""
    rng = random.Random(15)
    dataset, beta = "VG_two", 0.2
    rows = [questions[index] for index in half_of(len(questions), "all")]
    runs = {factor: [{"text": make_text(dataset, gold_of(row), rng, 0.5), "firstToken": make_distribution(OPTIONS[dataset], rng, False)} for row in rows]
            for factor in FACTORS}
    rounded = [None if index % 9 == 0 else float(np.round(rng.random() / 2, 2)) for index in range(len(rows))]
    write_json(folder, "vg_two.json", [
        {"Prompt": row["question"], "Generation_map": {factor: {"Generation": runs[factor][index]["text"], "Distribution": runs[factor][index]["firstToken"]}
                                                       for factor in FACTORS},
         "Golden": gold_of(row), "uncertainty": rounded[index]} for index, row in enumerate(rows)])
    return {"name": "sweep of six options, null confidences", "dataset": dataset, "split": "all", "questions": "vg_two.jsonl",
            "answers": "vg_two.json",
            **expected(dataset, rows, runs, form="sweep", gate=None, below_beta=below(rounded, [None] * len(rows), beta), confidences=rounded)}


def case_vsr(folder, questions):
    """VSR: the prompt without its caption, case-sensitive words, rounded confidences, VSR's scores file."""
    rng = random.Random(16)
    rows = [questions[index] for index in half_of(len(questions), "test")]
    answers = [{"text": make_text("VSR", gold_of(row), rng, 0.6)} for row in rows]
    rounded = [float(np.round(rng.random(), 2)) for _ in rows]
    head = "User: <image>\n Determine whether the description about the spatial relationship is correct or not. Answer with yes or no: "
    write_json(folder, "results_VSR_base_1.0.json", [{"Prompt": head, "Generation": answer["text"], "Golden": gold_of(row), "Uncertainty": value}
                                                     for answer, row, value in zip(answers, rows, rounded)])
    found = score_run("VSR", answers, rows)["rules"]["paper"]
    write_json(folder, "results_VSR_base_1.0_scores.json", {
        "acc": found["individual"]["fraction"], "precision": found["yesNo"]["truePositiveRate"]["fraction"],
        "recall": found["yesNo"]["trueNegativeRate"]["fraction"], "f1": found["yesNo"]["harmonicMeanOfRates"]})
    return {"name": "VSR with its own questions and scores", "dataset": "VSR", "split": "test", "questions": "vsr.jsonl",
            "answers": "results_VSR_base_1.0.json",
            "prompts": {"equal": 0, "endsWithQuestion": 0, "headOnly": len(rows), "containsClause": 0, "other": 0, "absent": 0},
            **expected("VSR", rows, {"answer": answers}, form="plain", gate=None, recorded="agrees",
                       below_beta=below(rounded, [None] * len(rows), 0.64), confidences=rounded)}


def case_prefix(folder, questions):
    """An interrupted run beside the complete scores file of an older one, an entropy gate's values, no option probabilities."""
    rng = random.Random(17)
    dataset = "COCO_one"
    rows = [questions[index] for index in half_of(len(questions), "test")]
    answers = [{"text": make_text(dataset, gold_of(row), rng, 0.6)} for row in rows]
    name = "results1.5_COCO_QA_one_obj_adapt_vis_entropy_1.0_0.9_fouroption_True.json"
    kept = len(rows) - 7
    write_json(folder, name, [{"Prompt": row["question"], "Generation": answer["text"], "Golden": gold_of(row), "uncertainty": rng.random()}
                              for answer, row in list(zip(answers, rows))[:kept]])
    right = right_positions(dataset, answers, rows)
    write_json(folder, name.replace(".json", "scores.json"), {"acc": len(right) / len(rows), "correct_id": right})
    return {"name": "prefix of an interrupted run beside stale scores", "dataset": dataset, "split": "test", "questions": "coco_one.jsonl",
            "answers": name, **expected(dataset, rows, {"answer": answers[:kept] + [None] * 7}, form="plain", gate=None, recorded="stale")}


def case_thought(folder, questions):
    """Chain of thought: Answer counts, also where it is null or missing; Generation does not."""
    rng = random.Random(18)
    dataset = "Controlled_A"
    rows = [questions[index] for index in half_of(len(questions), "validation")]
    texts = [make_text(dataset, gold_of(row), rng, 0.6) for row in rows]
    texts[0] = texts[1] = ""
    recorded = [{"Prompt": row["question"], "Step1": "Bottom-left", "Generation": f"Look. It is {gold_of(row)}.", "Answer": text,
                 "Final Answer": "On", "Golden": gold_of(row)} for row, text in zip(rows, texts)]
    recorded[0]["Answer"] = None
    del recorded[1]["Answer"]
    write_json(folder, "a_thoughts.json", recorded)
    return {"name": "chain of thought", "dataset": dataset, "split": "validation", "questions": "controlled_a.jsonl", "answers": "a_thoughts.json",
            **expected(dataset, rows, {"answer": [{"text": text} for text in texts]}, form="chain-of-thought", gate=None)}


def case_options(folder, questions):
    """A gated answer per row, and the option probabilities of the unmodified pass in distribution_map."""
    rng = random.Random(19)
    dataset, beta = "Controlled_A", 0.4
    rows = [questions[index] for index in half_of(len(questions), "validation")]
    answers = [{"text": make_text(dataset, gold_of(row), rng, 0.6)} for row in rows]
    greedy = [{"text": None, "firstToken": make_distribution(OPTIONS[dataset], rng, False)} for _ in rows]
    unrounded = [make_confidence(rng, beta) for _ in rows]
    rounded = [float(np.round(value, 2)) for value in unrounded]
    write_json(folder, "a_options.json", [
        {"Prompt": row["question"], "Generation": answers[index]["text"], "distribution_map": greedy[index]["firstToken"], "Golden": gold_of(row),
         "uncertainty": rounded[index], "uncertainties": {"confidence": [unrounded[index], None]}} for index, row in enumerate(rows)])
    return {"name": "plain array with the unmodified pass' option probabilities", "dataset": dataset, "split": "validation",
            "questions": "controlled_a.jsonl", "answers": "a_options.json",
            **expected(dataset, rows, {"answer": answers, "1.0 (options only)": greedy}, form="plain", gate=None,
                       below_beta=below(rounded, unrounded, beta), confidences=unrounded)}


def case_samples(folder, questions):
    """Sample lines in any order: failed requests, lines of the other half, nested responses, log-probabilities, a cut last line."""
    rng = random.Random(20)
    dataset, beta = "Controlled_A", 0.4
    ids = half_of(len(questions), "test")
    rows = [questions[index] for index in ids]
    answers, lines, unrounded = [], [], []
    for position, (index, row) in enumerate(zip(ids, rows)):
        text = make_text(dataset, gold_of(row), rng, 0.6)
        line = {"doc_id": index, "target": gold_of(row), "filtered_resps": text, "resps": [[text + " "]], "input": row["question"],
                "doc_hash": "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b"}
        confidence = None
        if position == 2:
            line["filtered_resps"] = "[LMMS_EVAL_REQUEST_FAILED after 5 tries] left"
            answers.append(None)
        elif position == 5:
            line["filtered_resps"] = "[LMMS_EVAL_BUDGET_EXCEEDED]"
            answers.append(None)
        else:
            answer = {"text": text}
            if position == 3:
                line["filtered_resps"] = [text]
                del line["resps"]
            if position == 4:
                del line["filtered_resps"]
                line["resps"] = [[text]]
            if position % 2 == 0:
                for field, rule in (("option_first_token_logprobs", "firstToken"), ("option_logprobs", "wholeString")):
                    answer[rule] = {option: -5 * rng.random() for option in OPTIONS[dataset]}
                    line[field] = answer[rule]
            confidence = line["confidence"] = make_confidence(rng, beta)
            answers.append(answer)
        unrounded.append(confidence)
        lines.append(line)
    outside = [{"doc_id": index, "target": gold_of(questions[index]), "filtered_resps": "Left"} for index in half_of(len(questions), "validation")[:3]]
    lines = lines + outside
    rng.shuffle(lines)
    # The last line was cut while it was written.
    Path(folder, "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"doc_id": 3, "targ')
    rounded = [None if value is None else float(np.round(value, 2)) for value in unrounded]
    return {"name": "lmms-eval samples with failed requests and a cut line", "dataset": dataset, "split": "test", "questions": "controlled_a.jsonl",
            "answers": "samples.jsonl", "failed": {"failedRequest": 1, "budgetExceeded": 1},
            **expected(dataset, rows, {"answer": answers}, form="samples", gate=None, below_beta=below(rounded, unrounded, beta), confidences=unrounded)}


def main(folder):
    Path(folder).mkdir(parents=True, exist_ok=True)
    rng = random.Random(10)
    questions = {name: make_questions(dataset, rng, count) for name, dataset, count in [
        ("controlled_a", "Controlled_A", 46), ("controlled_b", "Controlled_B", 41), ("vg_two", "VG_two", 33), ("vsr", "VSR", 47), ("coco_one", "COCO_one", 36)]}
    for name, rows in questions.items():
        write_lines(folder, f"{name}.jsonl", rows)
    np.save(Path(folder, "sampled_idx_a.npy"), np.array(half_of(46, "validation"), dtype=np.int64))
    cases = [
        case_plain(folder, questions["controlled_a"]), case_sweep(folder, questions["controlled_a"]),
        case_text_sweep(folder, questions["controlled_b"]), case_text_map(folder, questions["controlled_b"]),
        case_vg(folder, questions["vg_two"]), case_vsr(folder, questions["vsr"]), case_prefix(folder, questions["coco_one"]),
        case_thought(folder, questions["controlled_a"]), case_options(folder, questions["controlled_a"]),
        case_samples(folder, questions["controlled_a"]),
    ]
    pvalues = [{"onlyA": a, "onlyB": b, "p": exact_p(a, b)} for a, b in
               [(0, 0), (0, 1), (1, 1), (2, 1), (0, 6), (5, 3), (3, 5), (12, 40), (135, 21), (900, 1000), (400, 1847), (0, 1074), (0, 2247)]]
    plain, sweep, samples = cases[0], cases[1], cases[9]
    pairs = [((sweep, "1.0"), (sweep, "gated"), "paper"), ((sweep, "0.5"), (sweep, "1.5"), "firstToken"),
             ((plain, "answer"), (samples, "answer"), "exactlyOne"), ((samples, "answer"), (sweep, "2.0"), "paper")]
    comparisons = [comparison(questions["controlled_a"], a, b, rule) for a, b, rule in pairs]
    for case in cases:
        del case["recordedAnswers"]
    result = {"generator": "tools/goldens/evaluate_rescore.py", "python": platform.python_version(), "numpy": np.__version__, "pandas": pd.__version__,
              "scikit-learn": sklearn.__version__,
              "cases": cases, "comparisons": comparisons, "mcNemar": pvalues}
    Path(folder, "expected.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
