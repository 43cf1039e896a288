"""Writes ``docs/compatibility.md``: which decoder goes on which backbone, through which neck and encoder.

python -m scripts.write_compatibility

What is found is kept beside the page, in a file .json, from which `make docs` writes the page again.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from vertebra.parts import describe, names
from vertebra.testing.matrix import REPRESENTATIVES, fit_table

DATA = Path(__file__).parents[1] / "docs" / "compatibility.json"
INTRODUCTION = """# Which part goes on which

Written by `make matrix`, which builds every combination of the parts below without weights ({count} of them, {fitting} fit), and
trains each that fits for one step; do not edit. One backbone stands for its kind: `vertebra parts backbone` lists them all.

A cell holds how many of the {encoders} choices of encoder ({names}) fit between the backbone and neck on the left and the
decoder above: `all`, a number, or `-` for none; it is empty where the part is newer than the table. What does not fit is refused
when the model is built, with what would fit. A decoder that reads boxes is built with a detector,
`fcos`, behind the same neck and encoder.
"""
Found = dict[str, Any]
"""``encoders``: the choices; ``fits``: by backbone, neck and decoder, how many of them fit; ``refused``: why, and how often."""


def measure() -> Found:
    """Builds every combination."""
    fits: dict[str, dict[str, dict[str, int]]] = {}
    refused: Counter[str] = Counter()
    for row in fit_table():
        necks = fits.setdefault(row.backbone, {})
        decoders = necks.setdefault(row.neck or "none", {})
        decoders[row.decoder] = decoders.get(row.decoder, 0) + (not row.error)
        if row.error:
            reason, _, backbone = row.error.partition("; ")
            refused[f"{reason}. {backbone.partition('. ')[2]}"] += 1
    return {"encoders": ["none", *names("encoder")], "fits": fits, "refused": dict(refused.most_common())}


def document(found: Found) -> str:
    """The page."""
    choices, counts = (
        found["encoders"],
        [count for necks in found["fits"].values() for decoders in necks.values() for count in decoders.values()],
    )
    head = {"count": len(counts) * len(choices), "fitting": sum(counts), "encoders": len(choices)}
    lines = [INTRODUCTION.format(**head, names=", ".join(choices))]
    for task in dict.fromkeys(describe("decoder", name).task for name in names("decoder")):
        lines += [f"## {task}", "", *table(found, str(task)), ""]
    refusals = [f"| {count} | {reason} |" for reason, count in found["refused"].items()]
    return "\n".join([*lines, "## What is refused", "", "| refused | because |", "|---|---|", *refusals]) + "\n"


def table(found: Found, task: str) -> list[str]:
    """How many choices of encoder fit, for the decoders of one task."""
    decoders = [name for name in names("decoder") if describe("decoder", name).task == task]
    choices = len(found["encoders"])
    words = {None: "", 0: "-", choices: "all"}
    lines = ["| backbone | neck | " + " | ".join(f"`{name}`" for name in decoders) + " |"]
    lines.append("|---" * (len(decoders) + 2) + "|")
    for backbone in REPRESENTATIVES:
        for neck in ("none", *names("neck")):
            fits = found["fits"].get(backbone, {}).get(neck, {})
            cells = [words.get(fits.get(name), str(fits.get(name))) for name in decoders]
            lines.append(f"| {backbone} | {neck} | " + " | ".join(cells) + " |")
    return lines


def pages() -> dict[str, str]:
    """The page, by path below ``docs/``, from what was measured last."""
    return {"compatibility.md": document(json.loads(DATA.read_text(encoding="utf-8")))}


if __name__ == "__main__":
    found = measure()
    DATA.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    DATA.with_suffix(".md").write_text(document(found), encoding="utf-8")
