"""Predictions of segmentation keep their probabilities where a user asks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vertebra
from tests.weights.peers.randomize import randomize
from vertebra import ConfigError, Model

PICTURES = [
    np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((40, 70), (64, 64), (90, 30))
]
CLASSES = ["dog", "cat", "cow"]


def model_of(**options: Any) -> Model:
    torch.manual_seed(0)
    model = vertebra.create_model("test_resnet", image_size=64, resize="letterbox", **options)
    randomize(model)
    return model.eval()


@pytest.fixture(scope="module")
def model() -> Model:
    return model_of(decoder="fcn", classes=CLASSES)


def test_probabilities_have_the_images_size_and_decide_the_mask(model: Model) -> None:
    plain = model.predict(PICTURES, device="cpu")
    kept = model.predict(PICTURES, device="cpu", probabilities=True)
    for picture, without, result in zip(PICTURES, plain, kept, strict=True):
        assert without.probabilities is None
        assert result.probabilities.shape == (3, *picture.shape[:2]) and result.probabilities.dtype == np.float32
        np.testing.assert_allclose(result.probabilities.sum(0), 1, atol=1e-5)
        assert np.array_equal(result.probabilities.argmax(0), result.mask)
        assert (result.mask == without.mask).mean() > 0.999
        assert len(result.scores) == len(result) and "score" in result.to_dict()["segment"]["objects"][0]


def test_an_image_of_the_canvas_has_the_models_probabilities(model: Model) -> None:
    with torch.no_grad():
        (expected,) = model(torch.from_numpy(PICTURES[1]).permute(2, 0, 1)[None])["segment"]
    result = model.predict(PICTURES[1], device="cpu", probabilities=True)[0]
    np.testing.assert_allclose(result.probabilities, expected[0].numpy(), atol=1e-5)


def test_with_test_time_augmentation_they_are_the_mean(model: Model) -> None:
    picture = PICTURES[1]
    [merged] = model.predict(picture, device="cpu", probabilities=True, flip=True)
    [straight] = model.predict(picture, device="cpu", probabilities=True)
    [mirrored] = model.predict(picture[:, ::-1].copy(), device="cpu", probabilities=True)
    mean = (straight.probabilities + mirrored.probabilities[:, :, ::-1]) / 2
    np.testing.assert_allclose(merged.probabilities, mean, atol=1e-5)


def test_overlapping_classes_keep_theirs_too() -> None:
    [result] = model_of(decoder="fcn", classes=CLASSES, multilabel=True).predict(PICTURES[0], probabilities=True)
    assert np.array_equal(result.mask, result.probabilities >= 0.5)


def test_beside_other_branches_only_segmentation_has_them() -> None:
    branches = {
        "animal": {"decoder": "linear", "classes": CLASSES},
        "regions": {"decoder": "fcn", "classes": CLASSES},
    }
    [result] = model_of(branches=branches).predict(PICTURES[0], probabilities=True)
    assert result["regions"].probabilities.shape == (3, 40, 70) and result["animal"].probabilities.shape == (3,)


def test_other_tasks_and_tiles_are_refused(model: Model) -> None:
    classifier = model_of(decoder="linear", classes=CLASSES)
    with pytest.raises(ConfigError, match="probabilities: predictions of classify have all their scores; leave it out"):
        classifier.predict(PICTURES[0], probabilities=True)
    with pytest.raises(ConfigError, match="probabilities: tiles keep the classes of pixels only"):
        model.predict(PICTURES[0], probabilities=True, tile=32)


def test_exported_files_have_the_option(model: Model, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model.export(tmp_path / "model.onnx")
    [ours] = vertebra.load(tmp_path / "model.onnx").predict(PICTURES[0], probabilities=True)
    [theirs] = model.predict(PICTURES[0], device="cpu", probabilities=True)
    np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=0.02)  # they resize by different code
    model.export(tmp_path / "maps.onnx", class_map=True)
    with pytest.raises(ConfigError, match="outputs class maps, which tiles, flip, scales and probabilities cannot use"):
        vertebra.load(tmp_path / "maps.onnx").predict(PICTURES[0], probabilities=True)
