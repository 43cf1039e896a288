"""Prediction: any image, in its own pixels, the same alone and among others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vertebra
from vertebra.errors import ConfigError, DataError
from vertebra.inference.devices import pick_device
from vertebra.inference.io.inputs import list_images
from vertebra.inference.predictor import Predictor


@pytest.fixture(scope="module")
def model(finished: Path) -> vertebra.VisionModel:
    return vertebra.load(finished)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    (tmp_path / "deep").mkdir()
    for name, shape in (("a.png", (40, 70, 3)), ("b.png", (61, 33)), ("deep/c.png", (20, 20, 4))):
        Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_a_folder_with_images_of_any_size_and_kind(model: vertebra.VisionModel, folder: Path) -> None:
    results = Predictor(model, threshold=0.0).predict(folder)
    assert [result.path.name for result in results if result.path] == ["a.png", "b.png", "c.png"]
    assert [result.size for result in results] == [(40, 70), (61, 33), (20, 20)]
    for result in results:
        height, width = result.size
        boxes = result["boxes"].boxes
        assert len(boxes) > 0
        assert (
            bool((boxes >= 0).all())
            and bool((boxes[:, 0::2] <= width).all())
            and bool((boxes[:, 1::2] <= height).all())
        )
        assert result["regions"].mask.shape == (height, width)
        assert result["animal"].probabilities.sum() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_an_image_is_seen_the_same_alone_and_among_others(
    model: vertebra.VisionModel, folder: Path, batch_size: int
) -> None:
    together = Predictor(model, batch_size=batch_size, threshold=0.0).predict(folder)
    for result in together:
        (alone,) = Predictor(model, threshold=0.0).predict(result.path)
        np.testing.assert_allclose(alone["animal"].probabilities, result["animal"].probabilities, atol=1e-5)
        np.testing.assert_allclose(alone["boxes"].scores, result["boxes"].scores, atol=1e-5)


def test_arrays_and_pillow_images_are_images_too(model: vertebra.VisionModel, folder: Path) -> None:
    pixels = np.asarray(Image.open(folder / "a.png"))
    named, array, opened = model.predict([folder / "a.png", pixels, Image.open(folder / "a.png")])
    assert array.path is None and named.path == folder / "a.png"
    for other in (array, opened):
        np.testing.assert_array_equal(other["animal"].probabilities, named["animal"].probabilities)
    width, height = array["boxes"].draw().size
    assert width / height == 70 / 40 and width >= 70, "small images are enlarged so that names can be read"


def test_the_threshold_leaves_boxes_out(model: vertebra.VisionModel, folder: Path) -> None:
    (everything,) = Predictor(model, threshold=0.0).predict(folder / "a.png")
    middle = float(np.median(everything["boxes"].scores))
    (some,) = Predictor(model, threshold=middle).predict(folder / "a.png")
    assert 0 < len(some["boxes"].scores) < len(everything["boxes"].scores)
    assert float(some["boxes"].scores.min()) >= middle


def test_unreadable_images(model: vertebra.VisionModel, folder: Path) -> None:
    whole = (folder / "a.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.png"):
        Predictor(model).predict(folder)
    lenient = Predictor(model, skip_unreadable=True)
    assert len(lenient.predict(folder)) == 3
    assert len(lenient.skipped) == 1 and "cut.png" in lenient.skipped[0].reason


def test_what_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image in this folder"):
        list_images(tmp_path)
    with pytest.raises(DataError, match="nowhere"):
        list_images([tmp_path / "nowhere.png"])


def test_patterns(folder: Path) -> None:
    def names(pattern: str) -> list[str]:
        return [path.name for path in list_images(str(folder / pattern))]

    assert names("*.png") == ["a.png", "b.png"]
    assert names("**/*.png") == ["a.png", "b.png", "c.png"]
    assert names("*") == ["a.png", "b.png"], "what is no image is left out, as in a folder"
    assert names("[bc].p?g") == ["b.png"]
    with pytest.raises(DataError, match=r"\*\.jpg: this pattern matches nothing"):
        names("*.jpg")
    with pytest.raises(DataError, match="matches 1 files or folders, but no image"):
        names("*.txt")
    (folder / "c[1].png").write_bytes((folder / "a.png").read_bytes())
    assert names("c[1].png") == ["c[1].png"], "a file of that very name comes first"


def test_devices(tmp_path: Path) -> None:
    assert pick_device("cpu") == pick_device("cpu:0") == torch.device("cpu")
    with pytest.raises(ConfigError, match="no such device: 'quantum'"):
        pick_device("quantum")
    absent = "cuda" if not torch.cuda.is_available() else f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ConfigError, match=f"torch cannot use device '{absent}' .*choose cpu"):
        pick_device(absent)
    model = vertebra.create_model("test_resnet", decoder="linear", classes=["a", "b"], image_size=64)
    file = model.save(tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match=f"torch cannot use device '{absent}' .*choose cpu"):
        vertebra.load(file, device=absent)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({"batch_size": value}, "'batch_size' must be a whole number") for value in (0, -1, "4", 2.5, True)),
        *(({"threads": value}, "'threads' must be a whole number") for value in (0, "2")),
        *(({"threshold": value}, "'threshold' must be within 0 and 1") for value in (-0.1, 2, "0.5", float("nan"))),
    ],
)
def test_options_with_wrong_values(model: vertebra.VisionModel, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Predictor(model, **options)
    with pytest.raises(ConfigError, match=message):
        model.predict(np.zeros((8, 8, 3), np.uint8), **options)
