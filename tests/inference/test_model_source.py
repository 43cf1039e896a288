"""Which file holds a model, and how it is opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vertebra
from vertebra.errors import ConfigError
from vertebra.inference.model_source import ModelSource
from vertebra.model_info import model_info


def test_the_weights_of_an_openvino_file_lie_beside_it(tmp_path: Path) -> None:
    for name in ("a.xml", "a.bin", "b.onnx", "b.bin", "c.xml"):
        (tmp_path / name).touch()
    assert [path.name for path in ModelSource(tmp_path / "a.xml").files] == ["a.xml", "a.bin"]
    assert [path.name for path in ModelSource(tmp_path / "b.onnx").files] == ["b.onnx"]
    assert [path.name for path in ModelSource(tmp_path / "c.xml").files] == ["c.xml"]


@pytest.mark.parametrize(
    ("resolve_source", "wanted"),
    [
        (ModelSource(Path("model.safetensors")), None),
        (ModelSource(Path("model.safetensors"), device="cpu"), False),
        (ModelSource(Path("model.safetensors"), device="cuda"), True),
        (ModelSource(Path("model.onnx")), False),
        (ModelSource(Path("model.onnx"), device="cuda"), True),
        (ModelSource(Path("model.onnx"), runtime="tensorrt"), True),
    ],
)
def test_what_needs_a_gpu(resolve_source: ModelSource, wanted: bool | None) -> None:
    assert resolve_source.gpu is wanted


def test_where_a_number_of_threads_can_be_set() -> None:
    names = ("model.safetensors", "model.onnx", "model.xml", "model.pt2", "model.pte")
    assert [name for name in names if not ModelSource(Path(name)).takes_threads] == ["model.pte"]


def test_a_model_and_its_file_are_opened_alike(tmp_path: Path) -> None:
    model = vertebra.create_model(backbone="test_resnet", decoder="linear", classes=["x", "y"], image_size=64)
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    (wanted,) = model.predict(image)
    file = vertebra.save(model, tmp_path / "model.safetensors")
    exported = tmp_path / "model.onnx"
    vertebra.export_model(model, exported)
    for path in (file, exported):
        resolve_source = ModelSource(path, device="cpu")
        assert resolve_source.info.branches == model_info(model).branches
        (found,) = resolve_source.predictor(batch_size=2).predict(image)
        np.testing.assert_allclose(found["classify"].probabilities, wanted["classify"].probabilities, atol=1e-4)


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".pt2", ".pte"])
def test_an_exported_file_is_always_verified(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    with pytest.raises(
        ConfigError, match=rf"^\S+model\{suffix}: an exported file is always verified; leave out verify=False"
    ):
        vertebra.load(path, verify=False)
