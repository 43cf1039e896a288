"""Writes ``docs/export_matrix.md``: every decoder on every representative backbone, exported to ONNX and compared.

python scripts/write_export_matrix.py [FILE]

Takes an hour or two; what is found is kept in FILE.json as it comes, and a killed run goes on from there.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from vertebra.errors import JointError
from vertebra.parts import describe, names
from vertebra.testing.exports import MULTI_BRANCH, Outcome, multi_branch, outcome, usual
from vertebra.testing.matrix import REPRESENTATIVES

TARGET = Path(__file__).parents[1] / "docs" / "export_matrix.md"
MARKS = {"free": "free", "fixed": "fixed", "none": "-", "refused": "x"}
INTRODUCTION = """# What exports

Made by `make matrix`; do not edit. Every decoder, behind the neck and encoder that it usually stands on, on one backbone of each
kind, exported to ONNX (torch {torch}, ONNX Runtime {onnxruntime}) and passed through the comparison that every export passes: raw
and decoded outputs within 1e-4 of PyTorch's, at another batch size and, where it is free, on another canvas of an odd size.

`free`: one file for canvases of any size. `fixed`: the file takes the model's own canvas, and any batch size. `x`: the parts do
not fit, and are refused when the model is built. `-`: no file can be made. Either way the file takes images of any size in pixels,
with its preprocessing inside.

On backbones whose canvas is fixed with decoder `linear`, the other decoders are exported with the fixed canvas only.
"""


def tried(backbone: str, decoder: str, free: bool) -> tuple[str, str]:
    """What came of one export, and why if it is not free."""
    try:
        model = usual(backbone, decoder)
    except JointError as error:
        return "refused", str(error)
    with tempfile.TemporaryDirectory() as folder:
        return outcome(model, Path(folder), "auto" if free else "fixed")


def several(name: str) -> Outcome:
    """What came of the export of a model with several branches."""
    with tempfile.TemporaryDirectory() as folder:
        return outcome(multi_branch(name), Path(folder))


def measure(kept: Path) -> dict[str, dict[str, tuple[str, str]]]:
    """By backbone and decoder (and under "" by name of a model with several branches), what came of it."""
    found = json.loads(kept.read_text()) if kept.exists() else {}
    for backbone in ("", *REPRESENTATIVES):
        rows = found.setdefault(backbone, {})
        decoders = ["linear", *(name for name in names("decoder") if name != "linear")]
        for name in decoders if backbone else MULTI_BRANCH:
            if name in rows:
                continue
            free = name == "linear" or rows.get("linear", [""])[0] == "free"
            rows[name] = tried(backbone, name, free) if backbone else several(name)
            kept.write_text(json.dumps(found))
            print(backbone, name, *rows[name], flush=True)
    return found


def document(found: dict[str, dict[str, tuple[str, str]]]) -> str:
    head = INTRODUCTION.format(torch=version("torch"), onnxruntime=version("onnxruntime"))
    lines = [head, "| decoder | " + " | ".join(REPRESENTATIVES) + " |", "|---" * (len(REPRESENTATIVES) + 1) + "|"]
    for decoder in sorted(names("decoder"), key=lambda name: (str(describe("decoder", name).task), name)):
        cells = [MARKS[found[backbone][decoder][0]] for backbone in REPRESENTATIVES]
        lines.append(f"| `{decoder}` | " + " | ".join(cells) + " |")
    lines += ["", "| several branches | canvas |", "|---|---|"]
    lines += [f"| {name} | {MARKS[kind]} |" for name, (kind, _) in found[""].items()]
    reasons = Counter(
        (backbone or "several branches", kind, reason)
        for backbone, rows in found.items()
        for kind, reason in rows.values()
        if reason
    )
    lines += ["", "## Why not free", "", "| backbone | mark | times | because |", "|---|---|---|---|"]
    lines += [f"| {name} | {MARKS[kind]} | {count} | {reason} |" for (name, kind, reason), count in reasons.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    kept = target.with_suffix(".json")
    target.write_text(document(measure(kept)), encoding="utf-8")
    kept.unlink()
