"""What a prediction costs beside the model's own work: at each call, and once before the first.

python -m benchmarks.prediction_overhead [--only NAME ...] [--threads N] [--repeats N] [--out FILE]

"noticing changes" is the check whether the model is as it was. "predict without the model" is a whole call of ``model.predict``
on one image of the canvas' size whose outputs are at hand: reading, resizing, threads and results. "preparation" makes the copy
that predicts and compares it with the model; "preparation, not compared" only makes it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

import vertebra
from benchmarks.measure import in_turns, milliseconds
from benchmarks.report import Columns, Row, finish, ms, options, set_threads
from vertebra.inference.engine import Engine
from vertebra.model import VisionModel
from vertebra.optimize.checked_copy import CheckedCopy
from vertebra.optimize.model_state import ModelState

LIMIT = 0.5  # milliseconds that noticing changes may take

CASES: dict[str, dict[str, Any]] = {
    "resnet50 + fpn + retinanet": {
        "backbone": "resnet50",
        "neck": "fpn",
        "decoder": "retinanet",
        "image_size": (480, 640),
    },
    "resnet50 + linear": {"backbone": "resnet50", "decoder": "linear", "image_size": (224, 224)},
    "mobilenetv3_large_100 + linear": {
        "backbone": "mobilenetv3_large_100",
        "decoder": "linear",
        "image_size": (224, 224),
    },
    "vit_small_patch16_224 + linear": {
        "backbone": "vit_small_patch16_224",
        "decoder": "linear",
        "image_size": (224, 224),
    },
}


def compare(name: str, repeats: int) -> Row:
    """Milliseconds of each, of one model with random weights."""
    torch.manual_seed(0)
    model = vertebra.create_model(classes=["a", "b"], **CASES[name]).eval()
    state = ModelState(model)
    size = CASES[name]["image_size"]
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    model.predict(image)
    with torch.inference_mode():
        decoded = model(torch.from_numpy(image).permute(2, 0, 1)[None], torch.tensor([size]))
    model.predict(image)
    runs: dict[str, Callable[[], Any]] = {"noticing changes": lambda: state.holds(model)}
    seconds = in_turns({**runs, "whole prediction": lambda: model.predict(image)}, repeats, turn=0.1)
    with patch.object(Engine, "compute", lambda engine, images, sizes: decoded):
        seconds |= in_turns({"predict without the model": lambda: model.predict(image)}, repeats, turn=0.1)
    prepare: dict[str, Callable[[], Any]] = {
        "preparation": lambda: Engine(model, device="cpu"),
        "preparation, not compared": lambda: not_compared(model),
    }
    seconds |= in_turns(prepare, max(1, repeats // 2))
    return {"work": name, "milliseconds": milliseconds(seconds)}


def not_compared(model: VisionModel) -> None:
    """Makes the copy that predicts without comparing it."""
    with (
        patch.object(CheckedCopy, "outputs", lambda copy, model, batch: []),
        patch.object(CheckedCopy, "problem", lambda copy, fast: None),
    ):
        Engine(model, device="cpu")


def columns() -> Columns:
    """Of the table."""
    names = (
        "noticing changes",
        "predict without the model",
        "whole prediction",
        "preparation, not compared",
        "preparation",
    )
    return {"work": lambda row: row["work"], **{name: ms("milliseconds", name) for name in names}}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; the number of models of which noticing changes takes longer than it may."""
    parser = options(__doc__, repeats=7)
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES))
    given = parser.parse_args(arguments)
    set_threads(given.threads)
    rows = [compare(name, given.repeats) for name in given.only]
    late = [row["work"] for row in rows if row["milliseconds"]["noticing changes"]["median"] > LIMIT]
    finish("prediction_overhead", rows, columns(), given, [f"Too long to notice changes: {name}." for name in late])
    return len(late)


if __name__ == "__main__":
    sys.exit(main())
