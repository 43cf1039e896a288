"""A whole run on points and boxes of one COCO file, and on a table of points."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw

import vertebra
from vertebra.config import Config
from vertebra.data.open import open_data
from vertebra.data.open_datasets import open_split
from vertebra.training.run import complete, model_of_config

SIZE = (64, 96)


def arrow(draw: np.random.Generator) -> tuple[Image.Image, np.ndarray, np.ndarray]:
    """A dark arrow on light ground, its points (left_end, right_end, tip) and its box."""
    picture = Image.new("RGB", SIZE[::-1], (200, 200, 190))
    x, y = float(draw.uniform(24, 72)), float(draw.uniform(24, 40))
    points = np.array([[x - 14, y + 12], [x + 14, y + 12], [x, y - 12]])
    pen = ImageDraw.Draw(picture)
    pen.polygon([(float(a), float(b)) for a, b in points], fill=(40, 40, 60))
    pen.ellipse((x - 4, y - 14, x + 4, y - 8), fill=(220, 30, 30))
    return picture, points, np.array([x - 15, y - 14, x + 15, y + 13])


@pytest.fixture(scope="module")
def arrows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO folder of twelve images for training and four for validation."""
    root = tmp_path_factory.mktemp("arrows")
    draw = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4)):
        images, annotations = [], []
        for number in range(count):
            picture, points, box = arrow(draw)
            name = f"{split}{number}.png"
            picture.save(root / name)
            images.append({"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
            annotations.append(
                {
                    "id": number,
                    "image_id": number,
                    "category_id": 4,
                    "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()],
                    "area": 400.0,
                    "iscrowd": 0,
                    "keypoints": np.pad(points, ((0, 0), (0, 1)), constant_values=2).reshape(-1).tolist(),
                    "num_keypoints": 3,
                }
            )
        category = {
            "id": 4, "name": "arrow", "keypoints": ["left_end", "right_end", "tip"], "skeleton": [[1, 3], [2, 3]],
        }  # fmt: skip
        content = {"images": images, "annotations": annotations, "categories": [category]}
        (root / f"{split}.json").write_text(json.dumps(content))
    return root


def config(path: Path, **pose: Any) -> dict[str, Any]:
    return {
        "data": {"train": str(path), "val": str(path)},
        "model": {
            "backbone": "resnet10t",
            "branches": {
                "boxes": {"neck": "fpn", "decoder": "retinanet"},
                "pose": {
                    "task": "keypoints",
                    "decoder": {"name": "heatmap", "channels": 16},
                    "boxes_from": "boxes",
                    **pose,
                },
            },
        },
        "train": {"epochs": 1, "batch_size": 4, "image_size": list(SIZE), "workers": 0, "precision": "32"},
    }


def test_one_data_set_serves_both_branches(arrows: Path) -> None:
    opened = open_split(Config.from_raw(config(arrows)), "train")
    (source,) = opened.sources
    assert dict(source.branches) == {"boxes": "detect", "pose": "keypoints"} and len(source.index) == 12
    assert set(source.index.columns) == {"detect", "keypoints"}
    assert sum("left_end and right_end" in note for note in opened.notes) == 1


def test_labels_come_from_the_data_unless_they_are_given(arrows: Path) -> None:
    raw = Config.from_raw(config(arrows))
    pose = complete(raw, open_split(raw, "train"))[0].model.branches["pose"]
    assert pose.classes == ["arrow"] and pose.label_fields == {
        "points": ["left_end", "right_end", "tip"], "skeleton": [[0, 2], [1, 2]], "flip_pairs": [[0, 1]], "sigmas": [],
    }  # fmt: skip
    given = Config.from_raw(config(arrows, points=["tip", "right_end", "left_end"], sigmas=[0.1, 0.2, 0.2]))
    pose = complete(given, open_split(given, "train"))[0].model.branches["pose"]
    assert pose.label_fields == {
        "points": ["tip", "right_end", "left_end"], "sigmas": [0.1, 0.2, 0.2],
        "skeleton": [[2, 0], [1, 0]], "flip_pairs": [[2, 1]],
    }  # fmt: skip


def test_an_untrained_model_asks_the_data_for_its_points(arrows: Path) -> None:
    model = model_of_config(config(arrows, classes=["arrow"]), "config")
    assert model.branch("pose").labels.points == ("left_end", "right_end", "tip")  # type: ignore[attr-defined]


def test_a_run_from_files_to_predictions(arrows: Path, tmp_path: Path) -> None:
    run = vertebra.train(config(arrows), out=tmp_path / "run")
    kept = yaml.safe_load((run / "config.yaml").read_text())["model"]["branches"]["pose"]
    assert kept["points"] == ["left_end", "right_end", "tip"] and kept["flip_pairs"] == [[0, 1]]
    with (run / "metrics.csv").open() as file:
        (row,) = list(csv.DictReader(file))
    for column in ("boxes/map", "pose/oks_map", "pose/loss", "train/pose/heatmap"):
        assert row[column] != "", column
    scores = vertebra.evaluate(run, split="val")
    assert scores["pose/oks_map"] == pytest.approx(float(row["pose/oks_map"]), abs=1e-5)
    (result,) = vertebra.load(run).predict(arrows / "val0.png", threshold=0.0)
    pose = result["pose"]
    assert pose.points.shape[1:] == (3, 2) and pose.class_names == ["arrow"] * len(pose)
    assert pose.draw().size[0] >= SIZE[1] and "left_end" in json.dumps(result.to_dict())


def test_a_table_of_points_is_learned(tmp_path: Path) -> None:
    """The heatmap decoder on whole images learns eight drawn arrows from a table, and is measured on its own images."""
    draw = np.random.default_rng(1)
    lines = ["scorer" + ",me" * 6, "bodyparts,l_end,l_end,r_end,r_end,tip,tip", "coords" + ",x,y" * 3]
    for number in range(20):
        picture, points, _ = arrow(draw)
        name = f"labeled-data/clip/img{number:02}.png"
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(tmp_path / name)
        lines.append(",".join([name, *(f"{value:.2f}" for value in points.reshape(-1))]))
    (tmp_path / "labeled-data/clip/CollectedData_me.csv").write_text("\n".join(lines))
    assert open_data(tmp_path, "keypoints", "val").path(0).name == "img16.png"
    raw = {
        "data": str(tmp_path),
        "model": {"backbone": "resnet10t", "task": "keypoints", "decoder": {"name": "heatmap", "channels": 32}},
        "train": {
            "epochs": 16, "batch_size": 8, "image_size": list(SIZE), "workers": 0, "precision": "32", "lr": 3e-3,
            "ema": 0.9, "augment": "light", "evaluate_every": 16,
        },
    }  # fmt: skip
    run = vertebra.train(raw, out=tmp_path / "run")
    scores = vertebra.evaluate(run, split="train")
    assert scores["keypoints/error"] < 7, "who always says the middle is 13 pixels off"
