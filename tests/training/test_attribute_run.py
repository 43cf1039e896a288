"""A whole run on boxes with attributes of one COCO file, from the data to predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

import vertebra
from vertebra.cli.train import with_attributes
from vertebra.config import Config
from vertebra.data.open_datasets import open_split
from vertebra.errors import ConfigError, DataError
from vertebra.training.run import complete

SIZE = (64, 64)
COLORS = {"red": (220, 30, 30), "blue": (30, 30, 220)}


def drawn(draw: np.random.Generator) -> tuple[Image.Image, list[dict[str, Any]]]:
    """Two colored squares on light ground, the entries of their boxes, the second one without a color."""
    picture = Image.new("RGB", SIZE[::-1], (200, 200, 190))
    entries = []
    for number, left in enumerate((4, 36)):
        x, y = int(draw.integers(left, left + 6)), int(draw.integers(4, 40))
        color = ("red", "blue")[int(draw.integers(2))]
        ImageDraw.Draw(picture).rectangle((x, y, x + 18, y + 18), fill=COLORS[color])
        attributes = {"color": color} if number == 0 else {"color": "", "marks": ["old", "torn"]}
        entries.append(
            {
                "category_id": 7,
                "bbox": [x, y, 18, 18],
                "area": 324,
                "iscrowd": 0,
                "attributes": {"occluded": False, **attributes},
            }
        )
    return picture, entries


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO folder of eight images for training and four for validation."""
    root = tmp_path_factory.mktemp("squares")
    draw = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4)):
        images, annotations = [], []
        for number in range(count):
            picture, entries = drawn(draw)
            name = f"{split}{number}.png"
            picture.save(root / name)
            images.append({"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
            annotations += [{"id": 2 * number + k, "image_id": number, **entry} for k, entry in enumerate(entries)]
        content = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "square"}]}
        (root / f"{split}.json").write_text(json.dumps(content))
    return root


def config(path: Path, **branches: Any) -> dict[str, Any]:
    chosen = branches or {
        "color": {"task": "classify", "boxes_from": "squares"},
        "worn": {"task": "classify", "boxes_from": "squares", "attribute": "marks", "multilabel": True},
    }
    return {
        "data": {"train": str(path), "val": str(path), "check": False},
        "model": {
            "backbone": "mobilenetv3_small_050",
            "shared": {"neck": {"name": "fpn", "channels": 32}},
            "branches": {
                "squares": {"decoder": {"name": "fcos", "depth": 1, "postprocess": {"max_detections": 12}}},
                **chosen,
            },
        },
        "train": {"epochs": 1, "batch_size": 4, "image_size": list(SIZE), "workers": 0, "precision": "32", "ema": None},
    }


def test_one_data_set_serves_all_branches(squares: Path) -> None:
    config_read = Config.from_raw(config(squares))
    opened = open_split(config_read, "train")
    (source,) = opened.sources
    assert dict(source.branches) == {
        "squares": "detect",
        "color": "box_attributes:color",
        "worn": "box_attributes:marks",
    }
    assert opened.labels["color"].classes == ("blue", "red") and opened.labels["worn"].classes == ("old", "torn")
    assert any("8 objects without a value of 'color' were not labeled for it" in note for note in opened.notes)
    annotation = source.index.columns["box_attributes:color"].get(0, SIZE)
    assert annotation.values[1] == -1 and annotation.known.tolist() == [True, False]
    whole, _ = complete(config_read, opened)
    assert whole.model.branches["color"].task == "box_attributes" and whole.model.branches["worn"].label_fields == {
        "attribute": "marks"
    }


@pytest.fixture(scope="module")
def run(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(vertebra.train(config=config(squares), out=tmp_path_factory.mktemp("runs") / "run"))


def test_a_run_evaluates_and_predicts(squares: Path, run: Path) -> None:
    scores = vertebra.evaluate(run, split="val")
    assert 0 <= scores["color/accuracy"] <= 1 and 0 <= scores["worn/f1"] <= 1 and "color/joint_map" in scores
    model = vertebra.load(run)
    for result in model.predict([squares / "val0.png", squares / "val1.png"], threshold=0.0):
        assert list(result.keys()) == ["squares"] and "color" in result
        np.testing.assert_array_equal(result["color"].boxes, result.boxes)
        assert result[0].attributes["color"].value in COLORS
        assert result.boxes[0].attributes["color"].value == result[0].attributes["color"].value
        assert set(result.to_dict()["squares"]["objects"][0]["attributes"]) == {"color", "marks"}


def test_the_report_has_a_section_of_each_attribute(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    for branch in ("color", "worn"):
        section = page[page.rindex(f"Branch {branch} on") :]  # after the links at the top
        assert "Labeled objects" in section[: section.index("Images of")]


@pytest.mark.parametrize(
    ("branch", "message"),
    [
        (
            {"attribute": "colour"},
            r"no object has a value of the attribute 'colour'; its objects have: .*color \(8 values\)",
        ),
        ({"classes": ["Red", "Blue"]}, r"none of the values of 'color' \(.*\) is among those asked for"),
        ({"attribute": "marks"}, r"8 objects have several values of 'marks', the first in train0.png \(old, torn\)"),
    ],
)
def test_wrong_attributes_are_named(squares: Path, branch: dict[str, Any], message: str) -> None:
    raw = config(squares, color={"task": "classify", "boxes_from": "squares", **branch})
    with pytest.raises(DataError, match=message):
        open_split(Config.from_raw(raw), "train")


def test_a_decoder_for_images_is_refused() -> None:
    with pytest.raises(ConfigError, match="leave 'boxes_from' out, or take the decoder 'roi_head', which does"):
        vertebra.create_model(
            "mobilenetv3_small_050",
            branches={
                "boxes": {"decoder": "fcos", "classes": ["a"]},
                "kind": {"task": "classify", "decoder": "linear", "boxes_from": "boxes", "classes": ["a", "b"]},
            },
            image_size=64,
        )


def test_segmentation_of_boxes_is_that_of_instances() -> None:
    boxes = {"decoder": "fcos", "classes": ["a", "b"]}
    masks = {"task": "segment", "boxes_from": "boxes", "classes": ["a", "b"]}
    branches = Config.from_raw(
        {"data": "set", "model": {"backbone": "resnet10t", "branches": {"boxes": boxes, "masks": masks}}}
    ).model.branches
    assert branches["masks"].task == "instances" and branches["masks"].decoder.name == "condinst"
    with pytest.raises(
        ConfigError, match="'unet' reads no boxes; leave 'boxes_from' out, or take the decoder 'condinst'"
    ):
        vertebra.create_model(
            "resnet10t", branches={"boxes": boxes, "masks": {**masks, "decoder": "unet"}}, image_size=64
        )


def test_attributes_by_options_of_the_command_line() -> None:
    raw = with_attributes(
        {"backbone": {"name": "resnet10t"}, "neck": "fpn", "decoder": "fcos", "task": "detect"}, ["type", "color"]
    )
    assert raw["shared"] == {"neck": "fpn"} and list(raw["branches"]) == ["detect", "type_branch", "color"]
    model = Config.from_raw({"data": "set", "model": raw}).model
    assert model.branches["type_branch"].label_fields == {"attribute": "type"}
    assert model.branches["color"].decoder.name == "roi_head" and model.branches["color"].boxes_from == "detect"
    with pytest.raises(ConfigError, match="is for a task with boxes, such as detect; 'classify' has none"):
        with_attributes({"backbone": "resnet10t", "decoder": "linear"}, ["color"])
