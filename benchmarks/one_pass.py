"""One pass of a model with three branches beside three models with one branch each."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

import vertebra
from benchmarks.measure import in_turns, show
from vertebra.demo.timing import single_model

BRANCHES = {
    "animal": {"decoder": "linear", "classes": ["dog", "cat"]},
    "boxes": {"neck": "fpn", "decoder": "retinanet", "classes": ["dog", "cat"]},
    "regions": {"encoder": "aspp", "decoder": "deeplabv3plus", "classes": ["ground", "dog", "cat"]},
}


def run() -> None:
    """For a small and a larger backbone."""
    for backbone in ("mobilenetv2_100", "resnet50"):
        compare(backbone)


def compare(backbone: str) -> None:
    """Time and file size."""
    model = vertebra.create_model(backbone, branches=BRANCHES, image_size=(320, 416)).eval()
    images, sizes = torch.randint(0, 256, (1, 3, 320, 416), dtype=torch.uint8), torch.tensor([[320, 416]])
    singles = [single_model(model, name) for name in BRANCHES]
    with torch.inference_mode():
        seconds = in_turns(
            {
                "one model, three branches": lambda: model(images, sizes),
                "three models": lambda: [single(images, sizes) for single in singles],
            }
        )
    show(f"one pass at 320x416, {backbone}", seconds)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.safetensors" for number in range(4)]
        files = [vertebra.save(part, path) for part, path in zip([model, *singles], paths, strict=True)]
        together, *alone = (file.stat().st_size / 1e6 for file in files)
    print(f"  file: {together:.1f} MB for one model, {sum(alone):.1f} MB for three")
