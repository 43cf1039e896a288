"""A whole run on objects with masks, from the short form of its config to pictures, files and an export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import vertebra
from vertebra.annotations.run_lengths import Region
from vertebra.demo.animals import ANIMALS
from vertebra.demo.scenes import SceneStyle, draw_scene
from vertebra.errors import ConfigError

STYLE = SceneStyle(size=(64, 96))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO folder of eight scenes for training and four for validation."""
    root = tmp_path_factory.mktemp("scenes")
    categories = [{"id": number, "name": name} for number, name in enumerate(ANIMALS, 1)]
    for split, count in (("train", 8), ("val", 4)):
        images, annotations = [], []
        for number in range(count):
            scene = draw_scene([number, len(split)], style=STYLE)
            name = f"{split}{number}.png"
            Image.fromarray(scene.image).save(root / name)
            images.append({"id": number, "file_name": name, "height": 64, "width": 96})
            for row, label in enumerate(scene.labels.tolist(), 1):
                region = Region.of(scene.numbers == row)
                left, top, right, bottom = region.bounds()
                entry = {"bbox": [left, top, right - left, bottom - top], "segmentation": region.to_coco()}
                keys = {"id": len(annotations) + 1, "image_id": number, "category_id": label + 1}
                annotations.append({**keys, **entry, "area": region.area, "iscrowd": 0})
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"{split}.json").write_text(json.dumps(content))
    return root


def test_a_short_config_makes_both_branches(scenes: Path, tmp_path: Path) -> None:
    config = {
        "data": {"train": str(scenes), "val": str(scenes)},
        "model": {"task": "instances", "backbone": "test_resnet", "neck": "fpn", "decoder": "mask_rcnn"},
        "train": {"epochs": 1, "batch_size": 4, "image_size": [64, 96], "workers": 0, "precision": "32"},
    }
    run = vertebra.train(config, out=tmp_path / "run")
    written = run.config.model.branches
    assert written["instances"].boxes_from == "detect" and written["detect"].decoder.name == "retinanet"
    assert {"instances/map", "instances/boundary_map", "detect/map"} <= set(run.metrics)
    model = vertebra.load(tmp_path / "run")
    file = scenes / "val0.png"
    for options in ({}, {"flip": True}, {"tile": 48}):
        (result,) = model.predict(file, threshold=0.0, **options)
        prediction: Any = result["instances"]
        assert prediction.size == (64, 96) and prediction.masks.shape[1:] == (64, 96)
        assert len(prediction.run_lengths) == len(prediction.polygons) == len(prediction)
    assert result["instances"].draw().width >= 96


def test_the_short_form_on_a_chosen_detector() -> None:
    options: dict[str, Any] = {"neck": {"name": "fpn", "channels": 32}, "classes": ["a"], "image_size": 64}
    model = vertebra.create_model("test_resnet", decoder="mask_rcnn", boxes_from="faster_rcnn", **options)
    assert model.config is not None
    assert model.config["shared"]["neck"] == {"name": "fpn", "channels": 32, "extra_levels": 1, "extra": "pool"}
    labels = {"points": ["beak", "tail"]}
    pose = vertebra.create_model("test_resnet", decoder="heatmap", boxes_from="fcos", labels=labels, **options)
    assert list(pose.branches) == ["detect", "keypoints"] and pose.branch("keypoints").boxes_from == "detect"
    with pytest.raises(ConfigError, match="'boxes_from' must be a decoder of another task than 'detect'"):
        vertebra.create_model("test_resnet", decoder="fcos", boxes_from="retinanet", **options)
    with pytest.raises(ConfigError, match="'neck' is set beside 'shared', which has one"):
        vertebra.create_model("test_resnet", decoder="mask_rcnn", shared={"neck": "fpn"}, **options)
    with pytest.raises(ConfigError, match="reads boxes; name the branch that has them"):
        branches = {"masks": {"decoder": "mask_rcnn", "classes": ["a"]}}
        vertebra.create_model("test_resnet", branches=branches, image_size=64)
