"""From a panoptic data set to a model, its fused predictions, files and metrics, and those of an exported file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import vertebra
from tests.daily_sample import SEED, WHOLE, daily_sample
from tests.panoptic.drawn_segments import SIZE, STUFF, write_scenes
from vertebra.annotations.mask_files import read_segment_ids
from vertebra.cli.main import app
from vertebra.demo.animals import ANIMALS
from vertebra.panoptic.labels import PanopticLabels
from vertebra.panoptic.quality import PanopticQuality, Segments

THRESHOLD = 0.02  # of a model that is not trained
THINGS = list(ANIMALS)
BRANCHES: dict[str, dict[str, Any]] = {
    "regions": {"decoder": "fpn", "classes": [*THINGS, *STUFF]},
    "animals": {"decoder": {"name": "mask_rcnn", "convs": 1}, "boxes_from": "boxes", "classes": THINGS},
    "boxes": {"decoder": {"name": "fcos", "postprocess": {"max_detections": 8}}, "classes": THINGS},
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes"), {"train": 1, "val": 3})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a model from random weights with low thresholds."""
    torch.manual_seed(0)
    neck = {"name": "fpn", "channels": 32, "extra_levels": 2}
    model = vertebra.create_model("test_resnet", shared={"neck": neck}, branches=BRANCHES, image_size=list(SIZE))
    for name in ("animals", "boxes"):
        model.thresholds[name] = dict.fromkeys(THINGS, THRESHOLD)
    return model.save(tmp_path_factory.mktemp("models") / "model.safetensors")


def test_files_and_metrics_agree(scenes: Path, model: Path, tmp_path: Path) -> None:
    truth = scenes / "annotations/panoptic_val.json"
    arguments = ["--panoptic", str(tmp_path / "maps"), "--coco-gt", str(truth), "--out", str(tmp_path / "pictures")]
    done = CliRunner().invoke(
        app, ["predict", str(model), str(scenes / "val"), *arguments, "--jsonl", str(tmp_path / "l")]
    )
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "pictures").glob("*_panoptic.jpg"))) == 3
    scores = vertebra.evaluate(model, split="val", data=scenes)
    actual, predicted = _content(truth), _content(tmp_path / "maps/panoptic.json")
    assert predicted["categories"].keys() == actual["categories"].keys()
    names = list(actual["categories"].values())
    quality = PanopticQuality(PanopticLabels(tuple(names), len(names) - 2))
    assert predicted["segments"].keys() == actual["segments"].keys() and actual["segments"]
    for key, segments in actual["segments"].items():
        quality.add(predicted["segments"][key], segments)
    assert quality.counts[:, 1:3].sum() > 3, "the model predicts something"
    assert {f"panoptic/{name}": pytest.approx(value, abs=1e-6) for name, value in quality.compute().items()} == {
        name: value for name, value in scores.items() if name.startswith("panoptic/")
    }
    again = CliRunner().invoke(app, ["predict", str(model), str(scenes / "val"), *arguments[:2]])
    assert isinstance(again.exception, vertebra.RunError) and "nothing is overwritten" in str(again.exception)


@pytest.mark.skipif(not WHOLE and SEED % 3 > 0, reason="an export takes long, so it is tried every third day")
@pytest.mark.parametrize("options", daily_sample([{"class_map": True}, {"input": "canvas", "canvas": "fixed"}], 1))
def test_an_exported_file_gives_the_same_segments(
    options: dict[str, Any], scenes: Path, model: Path, tmp_path: Path
) -> None:
    loaded: Any = vertebra.load(model)
    loaded.export(tmp_path / "model.onnx", images=[np.asarray(Image.open(scenes / "val/val0.png"))], **options)
    file: Any = vertebra.load(tmp_path / "model.onnx")
    for name in ("val0", "val1", "val2"):
        (ours,), (theirs,) = (each.predict(scenes / f"val/{name}.png") for each in (loaded, file))
        assert len(ours.panoptic) and ours.panoptic.class_names == theirs.panoptic.class_names
        assert (ours.panoptic.ids == theirs.panoptic.ids).mean() > 0.999
    scores = file.evaluate(scenes, split="val")
    assert scores["panoptic/pq"] == pytest.approx(
        vertebra.evaluate(model, split="val", data=scenes)["panoptic/pq"], abs=1e-3
    )


def _content(file: Path) -> dict[str, Any]:
    """The segments of COCO panoptic files by image id, in the order of the categories."""
    raw = json.loads(file.read_text())
    numbers = {entry["id"]: number for number, entry in enumerate(raw["categories"])}
    segments = {}
    for entry in raw["annotations"]:
        ids = read_segment_ids(file.with_suffix("") / entry["file_name"])
        infos = entry["segments_info"]
        relabeled = np.zeros(ids.shape, dtype=np.int64)
        for number, info in enumerate(infos, 1):
            relabeled[ids == info["id"]] = number
            assert info["area"] == (ids == info["id"]).sum()
        classes = np.array([numbers[info["category_id"]] for info in infos], dtype=np.int64)
        crowd = np.array([bool(info["iscrowd"]) for info in infos], dtype=bool)
        segments[entry["image_id"]] = Segments(relabeled, classes, crowd)
    return {"categories": {entry["id"]: entry["name"] for entry in raw["categories"]}, "segments": segments}
