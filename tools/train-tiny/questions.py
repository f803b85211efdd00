"""Questions, answers and the verbatim prompt around them."""

from world import NAMES

PROMPT = "<image>\nUSER: {question}\nASSISTANT:"
OPTIONS_A = ["left", "right", "on", "under"]
OPTIONS_B = ["left", "right", "front", "behind"]
OPTIONS_ONE = ["left", "right", "top", "bottom"]
WHAT = "What is in the picture?"
PHRASE = {"left": "to the left of", "right": "to the right of", "on": "on", "under": "under", "front": "in front of", "behind": "behind"}


def _options(options: list[str]) -> str:
    return f"Answer with {', '.join(options[:-1])} or {options[-1]}."


def relation_question(first: str, second: str, options: list[str]) -> str:
    """What'sUp's question for Controlled_A (options A) and Controlled_B (options B)."""
    return f"Where is the {first} in relation to the {second}? {_options(options)}"


def place_question(name: str) -> str:
    """COCO_one's question."""
    return f"Where is the {name} in the photo? {_options(OPTIONS_ONE)}"


def with_article(name: str) -> str:
    """ "a mug", "an apple"."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def inventory_answer(names: list[str]) -> str:
    """ "A mug, a dog and a cat." — the objects from left to right."""
    parts = [with_article(n) for n in names]
    text = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return text[0].upper() + text[1:] + "."


def corpus() -> list[str]:
    """Text that holds every word of the toy language, for training the tokenizer."""
    lines = []
    for i, name in enumerate(NAMES):
        other = NAMES[(i + 1) % len(NAMES)]
        for question in (
            relation_question(name, other, OPTIONS_A),
            relation_question(name, other, OPTIONS_B),
            place_question(name),
            WHAT,
        ):
            lines.append(PROMPT.format(question=question).removeprefix("<image>"))
        for answer in OPTIONS_A + OPTIONS_B + OPTIONS_ONE:
            lines.append(" " + answer.capitalize())
        lines.append(" " + inventory_answer([name, other]))
        lines.append(" " + inventory_answer(["apple", name]))
    return lines
