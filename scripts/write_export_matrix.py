"""Writes ``docs/export_matrix.md``: every decoder on every representative backbone, exported to ONNX and compared.

python -m scripts.write_export_matrix

Takes half an hour on two cores. What is found is kept beside the page, in a file .json, as it comes: a killed run goes on from
there, and the page shows how far it came. Remove that file to try everything anew. `make docs` writes the page again from the
file.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from random import Random

import torch

from tests.export_matrix import (
    EXPORTED,
    MULTI_BRANCH,
    ONE_OF_EACH,
    SLOW,
    Outcome,
    multi_branch,
    outcome,
    pairs,
    usual,
)
from vertebra.errors import IncompatiblePartsError
from vertebra.parts import describe, names

Found = Mapping[str, Mapping[str, Sequence[str]]]
"""By backbone (or "") and decoder (or the name of a model with several branches) what came of the export, and why."""

DATA = Path(__file__).parents[1] / "docs" / "export_matrix.json"
MARKS = {"free": "free", "fixed": "fixed", "none": "-", "refused": "x"}
INTRODUCTION = """# What exports

Written by `make matrix`; do not edit. Every decoder, with its usual neck and encoder, on one backbone of each
kind, exported to ONNX (torch {torch}, ONNX Runtime {onnxruntime}) and passed through the comparison that every export passes: raw
and decoded outputs within 1e-4 of PyTorch's, at another batch size and, where it is free, on another canvas of an odd size.

`free`: one file for canvases of any size. `fixed`: the file takes the model's own canvas, and any batch size. `x`: the parts do
not fit, and are refused when the model is built. `-`: no file can be made. Either way the file takes images of any size in pixels,
with its preprocessing inside. {count}

A decoder that reads boxes is built with a small detector, `fcos`, on the same neck; the detector's outputs are compared, too.

Weights are random; where rounding alone decides what a model with them says, others are drawn.

The last backbones are large graphs, tried with one decoder of each task.
"""


def tried(backbone: str, decoder: str) -> Outcome:
    """What came of one export; without a backbone, of the model with several branches of that name."""
    build = partial(usual, backbone, decoder) if backbone else partial(multi_branch, decoder)
    with tempfile.TemporaryDirectory() as folder:
        try:
            return outcome(build, Path(folder))
        except IncompatiblePartsError as error:
            return Outcome("refused", str(error))


def measure() -> None:
    """Tries every export that `DATA` does not have. A process on each core; data and page are written after each export."""
    known = json.loads(DATA.read_text(encoding="utf-8"))["outcomes"] if DATA.exists() else {}
    every = [*(("", name) for name in MULTI_BRANCH), *pairs()]
    missing = [pair for pair in every if pair[1] not in known.get(pair[0], {})]
    Random(0).shuffle(missing)  # a run that is killed has seen something of everything
    missing.sort(key=lambda pair: pair[0] in SLOW)
    versions = {name: version(name) for name in ("torch", "onnxruntime")}
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"), initializer=_begin) as pool:
        for done in as_completed([pool.submit(_attempt, *pair) for pair in missing]):
            (backbone, name), outcome = done.result()
            known.setdefault(backbone, {})[name] = outcome
            print(backbone, name, *outcome, flush=True)
            ordered: dict[str, dict[str, Outcome]] = {}
            for row, decoder in every:
                if decoder in known.get(row, {}):
                    ordered.setdefault(row, {})[decoder] = known[row][decoder]
            DATA.write_text(json.dumps({"versions": versions, "outcomes": ordered}, indent=1) + "\n", encoding="utf-8")
            DATA.with_suffix(".md").write_text(pages()["export_matrix.md"], encoding="utf-8")


def _begin() -> None:
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)


def _attempt(backbone: str, decoder: str) -> tuple[tuple[str, str], Outcome]:
    return (backbone, decoder), tried(backbone, decoder)


def pages() -> dict[str, str]:
    """The page, by path below ``docs/``, from what was tried so far."""
    kept = json.loads(DATA.read_text(encoding="utf-8"))
    return {"export_matrix.md": document(kept["outcomes"], kept["versions"])}


def document(found: Found, versions: Mapping[str, str]) -> str:
    """The page."""
    count, every = sum(map(len, found.values())), len(pairs()) + len(MULTI_BRANCH)
    head = INTRODUCTION.format(
        **versions,
        count=f"All {every} were tried."
        if count == every
        else f"{count} of {every} were tried; those of empty cells were not yet.",
    )
    lines = [head, *table(found, EXPORTED, names("decoder")), "", *table(found, SLOW, ONE_OF_EACH)]
    lines += ["", "| several branches | |", "|---|---|"]
    lines += [f"| {name} | {MARKS[kind]} |" for name, (kind, _) in found.get("", {}).items()]
    reasons: dict[tuple[str, str], list[str]] = {}
    for backbone, rows in found.items():
        for decoder, (kind, reason) in rows.items():
            if reason:
                reasons.setdefault((MARKS[kind], reason), []).append(f"{backbone} {decoder}".strip())
    if reasons:
        lines += ["", "## Why not free", "", "| mark | because | of |", "|---|---|---|"]
    lines += [
        f"| `{mark}` | {reason.replace('|', '/')} | {', '.join(who)} |"
        for (mark, reason), who in sorted(reasons.items())
    ]
    return "\n".join(lines) + "\n"


def table(found: Found, backbones: Sequence[str], decoders: Sequence[str]) -> list[str]:
    """Rows of decoders, task by task, below the backbones."""
    lines = ["| decoder | " + " | ".join(backbones) + " |", "|---" * (len(backbones) + 1) + "|"]
    for decoder in sorted(decoders, key=lambda name: (str(describe("decoder", name).task), name)):
        cells = [
            MARKS[found[backbone][decoder][0]] if decoder in found.get(backbone, {}) else "" for backbone in backbones
        ]
        lines.append(f"| `{decoder}` | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    measure()
