"""Images of more than 8 bits and of several bands, from training to an exported file, by one stated range."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vertebra
from tests.preprocess.image_samples import tiff
from vertebra.errors import ConfigError, DataError, ImageRangeWarning
from vertebra.preprocess.images import read_image
from vertebra.weights.model_file import describe

SCALE = [0, 4095]


def write(root: Path, counts: dict[str, int], bands: int = 1, number: int = 5) -> Path:
    """A folder for each class, of 12-bit images around its count."""
    draw = np.random.default_rng(0)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for image in range(number):
            values = (count + draw.integers(0, 200, (40, 48, bands))).astype(np.uint16)
            path = root / name / f"{image}.tif"
            path.write_bytes(
                tiff(values[:, :, 0] if bands == 1 else np.moveaxis(values, -1, 0), photometric="minisblack")
            )
    return root


@pytest.mark.parametrize("bands", [1, 5])
def test_one_range_in_training_evaluation_prediction_and_export(tmp_path: Path, bands: int) -> None:
    data = write(tmp_path / "data", {"dark": 600, "bright": 2800}, bands)
    backbone = {"name": "test_resnet", **({} if bands == 1 else {"in_channels": bands})}
    model = vertebra.create_model(backbone, decoder="linear", classes=["bright", "dark"], image_size=32, scale=SCALE)
    model.fit(str(data), epochs=1, batch_size=4, out=str(tmp_path / "run"), workers=0, lr=0.01, warmup=0.0)
    assert vertebra.load(tmp_path / "run").resize_spec.scale == (0, 4095)
    assert describe(model)["preprocess"]["scale"] == SCALE
    path = data / "bright" / "0.tif"
    [from_file] = model.predict(path)
    pixels = read_image(path, bands, scale=(0.0, 4095.0))
    [from_bytes] = model.predict(pixels if bands > 1 else pixels[:, :, 0])
    np.testing.assert_array_equal(from_file["classify"].probabilities, from_bytes["classify"].probabilities)
    assert from_file["classify"].draw().mode == "RGB"
    assert model.evaluate(str(data), split="train")["classify/accuracy"] >= 0
    model.export(str(tmp_path / "model.onnx"))
    exported = vertebra.load(tmp_path / "model.onnx")
    assert exported.info.resize_spec.scale == (0, 4095)
    [from_export] = exported.predict(path)
    np.testing.assert_allclose(from_export["classify"].probabilities, from_file["classify"].probabilities, atol=1e-4)
    with pytest.raises(ConfigError, match=r"scale: the model has \(0\.0, 4095\.0\); build it for another range"):
        model.fit(str(data), epochs=1, scale=65535)


def test_the_range_of_a_config_is_that_of_its_model(tmp_path: Path) -> None:
    data = write(tmp_path / "data", {"dark": 600, "bright": 2800})
    config: dict[str, Any] = {
        "data": str(data),
        "model": {"backbone": "test_resnet", "decoder": "linear"},
        "train": {"epochs": 1, "batch_size": 4, "image_size": 32, "workers": 0, "scale": SCALE},
    }
    run = vertebra.train(config, out=str(tmp_path / "run"))
    assert vertebra.load(run.folder).resize_spec.scale == (0, 4095)
    config["train"]["scale"] = [5, 1]
    with pytest.raises(ConfigError, match=r"train\.scale.*low below high"):
        vertebra.train(config, out=str(tmp_path / "other"))


def test_12_bit_images_are_not_dark_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "data", {"dark": 600, "bright": 2800}, number=10)
    model = vertebra.create_model("test_resnet", decoder="linear", classes=["bright", "dark"], image_size=32)
    model.fit(str(data), epochs=1, batch_size=4, out=str(tmp_path / "run"), workers=0)
    note = "16 of 16 images hold numbers up to 2999 of 0..65535, so the model gets 12 of 256 gray levels"
    assert note in capsys.readouterr().err
    with pytest.warns(ImageRangeWarning, match="10 of 10 images hold numbers up to .* scale: \\[0, 4095\\]"):
        model.predict(data / "bright")
    with pytest.warns(ImageRangeWarning, match="1 of 1 images"):
        model.predict(data / "bright" / "0.tif")


def test_floats_without_a_range_stop_a_training(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(5):
            Image.fromarray(np.full((20, 20), 50.5, np.float32)).save(tmp_path / "data" / name / f"{number}.tif")
    model = vertebra.create_model("test_resnet", decoder="linear", classes=["a", "b"], image_size=32)
    with pytest.raises(DataError, match=r"it holds float32 from 50\.5 .* scale: \[low, high\]"):
        model.fit(str(tmp_path / "data"), epochs=1, batch_size=4, out=str(tmp_path / "run"), workers=0)
