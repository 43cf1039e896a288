"""Writes ``docs/compatibility.md``: which decoder goes on which backbone, through which neck and encoder.

python scripts/write_compatibility.py [FILE]
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from vertebra.parts import describe, names
from vertebra.testing.matrix import REPRESENTATIVES, Combination, fit_table

TARGET = Path(__file__).parents[1] / "docs" / "compatibility.md"
INTRODUCTION = """# Which part goes on which

Made by `make matrix`, which builds every combination of the parts below without weights ({count} of them, {fitting} fit), and
trains each that fits for one step; do not edit. One backbone stands for its kind: `vertebra parts backbone` lists them all.

A cell tells how many of the {encoders} choices of encoder ({names}) fit between backbone and neck on the left and the
decoder above: `all`, a number, or `-` for none. What does not fit is refused when the model is built, with the cure.
"""


def table(rows: list[Combination], task: str) -> list[str]:
    decoders = [name for name in names("decoder") if describe("decoder", name).task == task]
    choices = len(names("encoder")) + 1
    fitting: dict[tuple[str, str | None, str], int] = defaultdict(int)
    for row in rows:
        fitting[row.backbone, row.neck, row.decoder] += not row.error
    lines = ["| backbone | neck | " + " | ".join(f"`{name}`" for name in decoders) + " |"]
    lines.append("|---" * (len(decoders) + 2) + "|")
    for backbone in REPRESENTATIVES:
        for neck in (None, *names("neck")):
            counts = [fitting[backbone, neck, name] for name in decoders]
            words = ["all" if count == choices else str(count or "-") for count in counts]
            lines.append(f"| {backbone} | {neck or 'none'} | " + " | ".join(words) + " |")
    return lines


def refusals(rows: list[Combination]) -> list[str]:
    """Each reason once, with how often it was given."""
    reasons: dict[str, int] = defaultdict(int)
    for row in rows:
        if row.error:
            reason, _, giver = row.error.partition("; ")
            _, _, cure = giver.partition(". ")
            reasons[f"{reason}. {cure}"] += 1
    ordered = sorted(reasons.items(), key=lambda item: -item[1])
    return ["| refused | because |", "|---|---|", *(f"| {count} | {reason} |" for reason, count in ordered)]


def document() -> str:
    rows = fit_table()
    choices = ["none", *names("encoder")]
    lines = [
        INTRODUCTION.format(
            count=len(rows),
            fitting=sum(not row.error for row in rows),
            encoders=len(choices),
            names=", ".join(choices),
        )
    ]
    for task in dict.fromkeys(describe("decoder", name).task for name in names("decoder")):
        lines += [f"## {task}", "", *table(rows, str(task)), ""]
    return "\n".join([*lines, "## What is refused", "", *refusals(rows)]) + "\n"


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET).write_text(document(), encoding="utf-8")
