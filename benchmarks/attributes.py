"""Types of objects as an attribute of boxes of one class, beside a detector with a class for each type.

python -m benchmarks.attributes --data VOC --weights FILE [--epochs N] [--repeats N] [KEY=VALUE ...]

``--data`` is a data set in Pascal VOC's format with splits. `one_class` writes it as COCO files in which all objects are of the
class "cell" and have their class as the attribute ``type``. Both models have the same backbone, neck and detector and are trained
alike; the second one has a branch for the attribute besides. A repeat is a seed.

Compared are mAP@50 of the test split, where box and type must be right, the processor time of a training, and the time of a
prediction of one image.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

import vertebra
from benchmarks.decoders import BACKBONE, RECIPES, model_with
from benchmarks.measure import in_turns, milliseconds
from benchmarks.report import Columns, Row, finish, options, set_threads
from vertebra.annotations.options import ReadOptions
from vertebra.config import override
from vertebra.data.readers import all_readers
from vertebra.data.readers.base import AnnotationReader
from vertebra.optimize.inference_copy import inference_copy
from vertebra.preprocess.images import apply, read_image

OBJECT, ATTRIBUTE = "cell", "type"
BRANCH = "kind"  # a branch cannot be called "type"
SPLITS = ("train", "val", "test")
IMAGES = 10  # whose prediction is timed


def one_class(source: Path, target: Path) -> Path:
    """Writes a VOC data set as COCO files of one class, with the class of each object as an attribute; images are linked."""
    reader = all_readers()["voc"]
    assert isinstance(reader, AnnotationReader)
    target.mkdir(parents=True)
    for split in SPLITS:
        read = reader.load(source, split, ReadOptions())
        images, annotations = [], []
        for row in range(len(read)):
            path = read.path(row)
            (target / path.name).symlink_to(path.resolve())
            height, width = read.sizes[row].tolist()
            images.append({"id": row, "file_name": path.name, "height": height, "width": width})
        objects = read.objects
        for number, (row, category, box) in enumerate(
            zip(objects.rows.tolist(), objects.categories.tolist(), objects.boxes.tolist(), strict=True)
        ):
            left, top, right, bottom = box
            sides = [right - left, bottom - top]
            annotations.append(
                {
                    "id": number,
                    "image_id": row,
                    "category_id": 1,
                    "bbox": [left, top, *sides],
                    "area": sides[0] * sides[1],
                    "iscrowd": int(objects.crowd[number]),
                    "attributes": {ATTRIBUTE: read.category_names[category]},
                }
            )
        content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": OBJECT}]}
        (target / f"{split}.json").write_text(json.dumps(content))
    return target


def configs(given: argparse.Namespace, data: Path) -> dict[str, dict[str, Any]]:
    """The configs of both models, by name."""
    direct = model_with("retinanet", "detect", given.weights)
    neck = direct.pop("neck")
    detector = {"task": "detect", "decoder": direct.pop("decoder")}
    shared = {"backbone": direct["backbone"], "shared": {"neck": neck}}
    attribute = {"task": "classify", "boxes_from": "cells", "attribute": ATTRIBUTE}
    return {
        "a class for each type": {
            "data": {"path": str(given.data)},
            "model": {**shared, "branches": {"cells": detector}},
        },
        "type as an attribute": {
            "data": {"path": str(data)},
            "model": {**shared, "branches": {"cells": detector, BRANCH: attribute}},
        },
    }


def measure(given: argparse.Namespace, folder: Path) -> list[Row]:
    """A row for each model; the models alternate, so that whatever else the machine does is shared."""
    recipe = {**RECIPES["detect"], "accelerator": "cpu", "devices": 1}
    chosen = configs(given, one_class(given.data, folder / "one_class"))
    rows: dict[str, Row] = {name: {"name": name, "map_50": [], "cpu_minutes": []} for name in chosen}
    models = {}
    for seed in range(given.repeats):
        for name, raw in chosen.items():
            raw = {**raw, "train": {**recipe, "epochs": given.epochs, "seed": seed}}
            run = folder / f"{name}_{seed}".replace(" ", "_")
            start = time.process_time()
            vertebra.train(override(raw, given.overrides), out=run)
            rows[name]["cpu_minutes"].append((time.process_time() - start) / 60)
            scores = vertebra.evaluate(run, split="test")
            rows[name]["map_50"].append(scores.get(f"{BRANCH}/joint_map_50", scores["cells/map_50"]))
            rows[name]["scores"] = {key: value for key, value in scores.items() if key.count("/") == 1}
            models[name] = vertebra.load(run)
            print(f"{name}, seed {seed}: {rows[name]['map_50'][-1]:.4f}", flush=True)
    images = sorted(path for path in (folder / "one_class").iterdir() if path.suffix != ".json")[:IMAGES]
    for name, spent in prediction_times(models, images).items():
        rows[name]["prediction"] = spent
    first, second = rows.values()
    second["relative_time"] = second["prediction"]["median"] / first["prediction"]["median"]
    return list(rows.values())


def prediction_times(models: Mapping[str, Any], files: Sequence[Path]) -> dict[str, Any]:
    """Milliseconds of a model's graph for one image, in processor time of one thread; each turn takes the next image."""
    torch.set_num_threads(1)
    runs = {}
    for name, model in models.items():
        spec = model.resize_spec
        images = [read_image(file) for file in files]
        batches = [torch.from_numpy(apply(spec, image)[None]).permute(0, 3, 1, 2) for image in images]
        sizes = [torch.tensor([spec.transform(*image.shape[:2]).size]) for image in images]
        graph = inference_copy(model, torch.device("cpu"))
        runs[name] = partial(_next, graph, itertools.cycle(list(zip(batches, sizes, strict=True))))
    with torch.no_grad():
        return milliseconds(in_turns(runs, repeats=4 * len(files), warm=3, clock=time.thread_time))


def _next(graph: Callable[..., Any], batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> Any:
    return graph(*next(batches))


COLUMNS: Columns = {
    "model": lambda row: row["name"],
    "mAP@50, mean": lambda row: f"{statistics.fmean(row['map_50']):.4f}",
    "of the seeds": lambda row: ", ".join(f"{value:.4f}" for value in row["map_50"]),
    "minutes of training (processor)": lambda row: f"{statistics.fmean(row['cpu_minutes']):.1f}",
    "prediction": lambda row: f"{row['prediction']['median']:.1f} ms",
    "relative": lambda row: f"{row['relative_time']:.3f}",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains, prints and writes."""
    parser = options(__doc__, 1)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help=f"of {BACKBONE}; left out, it begins at random")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_intermixed_args(arguments)
    set_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(given, Path(folder))
    notes = (
        "mAP@50 of the test split, in which box and type must be right: of a class for each type COCO's map_50, of the attribute "
        "joint_map_50.",
        f"Prediction: processor time of the model's graph on one thread, the median of {4 * IMAGES} in turns over {IMAGES} images.",
    )
    finish("attributes", rows, COLUMNS, given, notes)


if __name__ == "__main__":
    main()
