"""Images a second that the loaders give, with the default augmentation, in one process.

python -m benchmarks.loading [--images N] [--repeats N] [--threads N] [--out FILE]
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import vertebra
from benchmarks.measure import in_turns, milliseconds
from benchmarks.report import Columns, Row, finish, options, set_threads
from vertebra.config import Config
from vertebra.data.open_datasets import open_split
from vertebra.demo.files import SceneCounts, write_scenes
from vertebra.demo.scenes import SceneStyle
from vertebra.training.loaders import RunData

TASKS = {"animals": "linear", "boxes": "fcos", "regions": "upsample"}
BATCH = 8


def loaders(folder: Path) -> dict[str, RunData]:
    """By name of the data set, what gives its batches on a canvas of 320x416."""
    found = {}
    for name, decoder in TASKS.items():
        config = Config.from_raw(
            {
                "data": str(folder / name),
                "model": {"backbone": "resnet10t", "decoder": decoder},
                "train": {"batch_size": BATCH, "image_size": [320, 416], "workers": 0},
            },
            "benchmark",
        )
        opened = open_split(config, "train")
        branch = next(iter(config.model.branches))
        model = vertebra.create_model(
            "resnet10t", decoder=decoder, classes=list(opened.labels[branch].classes), image_size=(320, 416)
        )
        found[name] = RunData(model, config.train, opened.sources, [])
    return found


def compare(images: int, repeats: int, size: tuple[int, int] = (480, 640)) -> list[Row]:
    """A row for each data set: scenes as a folder of classes, as VOC and as masks.

    Args:
        images: of each data set.
        repeats: epochs that count.
        size: (height, width) of the scenes.
    """
    counts = SceneCounts(classes=images, boxes=images, masks=images, val=1, test=1)
    with tempfile.TemporaryDirectory() as name:
        write_scenes(Path(name), counts, style=SceneStyle(size=size))
        found = loaders(Path(name))
        seconds = in_turns(
            {name: lambda data=data: list(data.train_dataloader()) for name, data in found.items()},  # type: ignore[misc]
            repeats,
        )
        steps = {name: len(data.train_dataloader()) for name, data in found.items()}
    spans = milliseconds(seconds)
    return [
        {"name": name, "milliseconds": spans[name], "images_a_second": BATCH * steps[name] / seconds[name].median}
        for name in found
    ]


COLUMNS: Columns = {
    "data": lambda row: row["name"],
    "images a second": lambda row: f"{row['images_a_second']:.0f}",
}
NOTES = ("One process, scenes of 480x640 onto 320x416, default augmentation, batches of eight.",)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = options(__doc__, repeats=3)
    parser.add_argument("--images", type=int, default=48, help="of each data set")
    given = parser.parse_args(arguments)
    set_threads(given.threads)
    finish("loading", compare(given.images, given.repeats), COLUMNS, given, NOTES)


if __name__ == "__main__":
    main()
