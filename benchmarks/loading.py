"""Images a second that the loaders give, with the default augmentation, in one process."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import vertebra
from vertebra.config import Config
from vertebra.demo.files import SceneCounts, write_scenes
from vertebra.demo.scenes import SceneStyle
from vertebra.training.loaders import RunData
from vertebra.training.sources import open_split

TASKS = {"animals": "linear", "boxes": "fcos", "regions": "upsample"}


def run() -> None:
    """Drawn scenes of 480x640, as a folder of classes, as VOC and as masks."""
    print("\nloading, one process, scenes of 480x640 onto 320x416, default augmentation")
    counts = SceneCounts(classes=48, boxes=48, masks=48, val=1, test=1)
    with tempfile.TemporaryDirectory() as name:
        write_scenes(Path(name), counts, style=SceneStyle(size=(480, 640)))
        for folder, decoder in TASKS.items():
            config = Config.from_raw(
                {
                    "data": str(Path(name) / folder),
                    "model": {"backbone": "resnet10t", "decoder": decoder},
                    "train": {"batch_size": 8, "image_size": [320, 416], "workers": 0},
                },
                "benchmark",
            )
            opened = open_split(config, "train")
            branch = next(iter(config.model.branches))
            model = vertebra.create_model(
                "resnet10t", decoder=decoder, classes=list(opened.classes[branch]), image_size=(320, 416)
            )
            loader = RunData(model, config.train, opened.sources, []).train_dataloader()
            started = time.perf_counter()
            steps = sum(1 for _ in loader)
            print(f"  {folder:<12} {8 * steps / (time.perf_counter() - started):6.0f} images/s")
