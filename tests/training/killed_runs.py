"""A tiny run that uses all that a resume must restore, and its comparison, to the bit, with one that never stopped.

Augmentation, dropout, moving average, batch norm, warm-up and schedule, four better evaluations, and an end by patience after the
fifth of 15 epochs, which is 15 steps; the state is saved after each.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.utils import _pytree as tree


def write_data(folder: Path) -> Path:
    """Dark and light images: twelve to train, which is three steps of four, and six to validate."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3)):
        for name, low in (("dark", 0), ("light", 25)):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(low, low + 200, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{name}{number}.png")
    return folder


def config(data: Path, **train: Any) -> dict[str, Any]:
    recipe = {
        "epochs": 15, "batch_size": 4, "image_size": 32, "workers": 0, "precision": "32", "ema": 0.5, "patience": 1,
        "monitor": "classify/loss", "lr": 0.02, "save_every_minutes": 1e-9,
    }  # fmt: skip
    model = {"backbone": "test_resnet", "decoder": {"name": "linear", "dropout": 0.3}}
    return {"data": str(data), "model": model, "train": recipe | train}


def is_cost(name: str) -> bool:
    """Whether a column has what an epoch cost, which differs from run to run."""
    return name.startswith(("seconds", "memory/", "images_per_second"))


def final_state(run: Path) -> dict[str, Any]:
    """All that must be equal at the end, as flat values."""
    state = torch.load(run / "last.ckpt", weights_only=True)
    callbacks = state["callbacks"]["RunFolder"]
    rows = [{name: value for name, value in row.items() if not is_cost(name)} for row in callbacks["rows"]]
    parts = {name: state[name] for name in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step")}
    with (run / "metrics.csv").open() as file:
        table = [{name: text for name, text in row.items() if not is_cost(name)} for row in csv.DictReader(file)]
    kept = {"kept": callbacks["kept"], "rows": rows, "table": table, "best": load_file(run / "model.safetensors")}
    leaves, _ = tree.tree_flatten_with_path({**parts, **kept})
    return {tree.keystr(path): value for path, value in leaves}


def check_same(run: Path, wanted: dict[str, Any]) -> None:
    """Checks that a run ended as the one that never stopped, to the bit."""
    state = final_state(run)
    assert state.keys() == wanted.keys()
    different = [
        name
        for name, value in wanted.items()
        if not (torch.equal(value, state[name]) if isinstance(value, torch.Tensor) else value == state[name])
    ]
    assert not different, different[:5]


def leftovers(run: Path) -> set[str]:
    """Files of a finished run that should not be there."""
    states = {"config.yaml", "last.ckpt", "previous.ckpt", "model.safetensors", "run.json"}
    tables = {"metrics.csv", "metrics_by_class.csv", "report.html"}
    return {path.name for path in run.iterdir()} - states - tables
