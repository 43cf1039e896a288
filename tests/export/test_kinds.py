"""Every kind of file predicts as the model does, and names and options that fit nothing are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils import _pytree as tree

import vertebra
from tests.export_matrix import multi_branch
from vertebra.errors import ConfigError, ExportError, RunError, UnknownName, WeightsError
from vertebra.export.export_model import export_model
from vertebra.export.torch_export import raw_outputs
from vertebra.inference.exported_model import ExportedModel
from vertebra.model import VisionModel
from vertebra.weights.model_file import describe

BRANCHES: dict[str, Any] = {
    "boxes": {"neck": "fpn", "decoder": "retinanet", "classes": ["dog", "cat"]},
    "regions": {"decoder": "upsample", "classes": ["dog", "cat"]},
}
ON_BOXES: dict[str, Any] = {
    "masks": {
        "decoder": {"name": "mask_rcnn", "convs": 1, "region_size": 7},
        "boxes_from": "boxes",
        "classes": ["cat"],
    },
    "color": {"task": "classify", "boxes_from": "boxes", "classes": ["red", "blue"]},
}


def built(branches: dict[str, Any]) -> VisionModel:
    torch.manual_seed(0)
    return vertebra.create_model("test_resnet", branches=branches, image_size=(64, 96), resize="letterbox").eval()


@pytest.fixture(scope="module")
def model() -> VisionModel:
    return built(BRANCHES)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((50, 80), (33, 97), (128, 64))]


@pytest.mark.parametrize("name", ["model.xml", "model.pt2"])
def test_the_same_predictions(name: str, pictures: list[np.ndarray], tmp_path: Path) -> None:
    model = built({**BRANCHES, **ON_BOXES})
    if name == "model.xml":
        pytest.importorskip("openvino", reason="OpenVINO is not installed")
    report = export_model(model, tmp_path / name, input="canvas", images=pictures[:1])
    assert max(report["differences"].values()) < 1e-4
    # torch keeps what it found out of the graph: with the levels of this detector, that it holds from 129 pixels on
    assert report["free_canvas"] or "to be >= 129" in report["why_fixed"] or "size()[2] >= 129" in report["why_fixed"]
    file = vertebra.load(tmp_path / name)
    assert file.config == describe(model)["model"] and torch.__version__.startswith(file.report["versions"]["torch"])
    for ours, theirs in zip(file.predict(pictures), model.predict(pictures), strict=True):
        np.testing.assert_allclose(ours["boxes"].scores, theirs["boxes"].scores, atol=1e-5)
        np.testing.assert_allclose(ours["boxes"].boxes, theirs["boxes"].boxes, atol=1e-2)
        assert (ours["regions"].mask == theirs["regions"].mask).mean() > 0.999
        np.testing.assert_allclose(ours["color"].probabilities, theirs["color"].probabilities, atol=1e-5)
        np.testing.assert_allclose(ours["masks"].scores, theirs["masks"].scores, atol=1e-5)
        areas = ([region.area for region in each["masks"].rles] for each in (ours, theirs))
        np.testing.assert_allclose(*areas, atol=3)
    with pytest.raises(RunError, match="nothing is overwritten"):
        export_model(model, tmp_path / name)


def test_openvino_in_other_precisions(model: VisionModel, pictures: list[np.ndarray], tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    report = export_model(
        model, tmp_path / "half.xml", precision="fp16", input="canvas", canvas="fixed", images=pictures[:1]
    )
    assert report["agreement"]["real image 1"] > 0.97
    export_model(model, tmp_path / "whole.xml", input="canvas", canvas="fixed")
    sizes = [(tmp_path / f"{name}.bin").stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.6 * sizes[1]
    exact = vertebra.load(tmp_path / "whole.xml").predict(pictures)
    for precision in ("bf16", "fp32"):
        found = ExportedModel(tmp_path / "whole.xml", precision=precision).predict(pictures)
        same = [(a["regions"].mask == b["regions"].mask).mean() for a, b in zip(found, exact, strict=True)]
        assert min(same) > (0.9 if precision == "bf16" else 0.9999)
    (tmp_path / "whole.bin").unlink()
    with pytest.raises(WeightsError, match=r"its weights, whole\.bin, are missing"):
        vertebra.load(tmp_path / "whole.xml")


def test_an_onnx_file_in_openvino(model: VisionModel, pictures: list[np.ndarray], tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    export_model(model, tmp_path / "model.onnx", input="canvas")
    ours = ExportedModel(tmp_path / "model.onnx", runtime="openvino").predict(pictures)
    theirs = ExportedModel(tmp_path / "model.onnx").predict(pictures)
    for left, right in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(left["boxes"].scores, right["boxes"].scores, atol=1e-5)
    with pytest.raises(ConfigError, match="runs in the precision that it was exported in"):
        ExportedModel(tmp_path / "model.onnx", precision="bf16")
    with pytest.raises(ConfigError, match="is not int8"):
        ExportedModel(tmp_path / "model.onnx", precision="int8")
    with pytest.raises(ConfigError, match="TensorrtExecutionProvider"):
        ExportedModel(tmp_path / "model.onnx", runtime="tensorrt")
    with pytest.raises(ConfigError, match=r"does not run in torch, which needs a \.pt2 file"):
        ExportedModel(tmp_path / "model.onnx", runtime="torch")


def test_names_and_options(model: VisionModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the suffix of such a file is \.xml"):
        export_model(model, tmp_path / "model.onnx", to="openvino")
    with pytest.raises(ConfigError, match=r"is \.onnx, \.xml, \.pt2"):
        export_model(model, tmp_path / "model.bin")
    with pytest.raises(UnknownName, match="tensorflow"):
        export_model(model, tmp_path / "model.onnx", to="tensorflow")  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="int4"):
        export_model(model, tmp_path / "model.onnx", precision="int4")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"a \.pt2 file is fp32"):
        export_model(model, tmp_path / "model.pt2", precision="fp16")
    (tmp_path / "text.pt2").write_text("hello")
    with pytest.raises(WeightsError, match=r"damaged, or not a \.pt2 file"):
        vertebra.load(tmp_path / "text.pt2")


def test_raw_outputs_are_compared_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vertebra.export.targets import via_onnx

    branches = {"regions": {"decoder": "upsample", "classes": ["dog", "cat"]}}
    model = vertebra.create_model("test_resnet", branches=branches, image_size=(64, 96), resize="letterbox").eval()
    whole = via_onnx.optimized_copy

    def wrong(given: VisionModel) -> VisionModel:
        """One whose logits are shifted all alike, which softmax does not show."""
        copied = whole(given)
        decoder = copied.branch("regions").decoder
        forward = decoder.forward
        monkeypatch.setattr(decoder, "forward", lambda *parts: type(forward(*parts))(*(v + 1 for v in forward(*parts))))
        return copied

    monkeypatch.setattr(via_onnx, "optimized_copy", wrong)
    with pytest.raises(ExportError, match=r"'raw output \d+ .* differs by"):
        export_model(model, tmp_path / "wrong.onnx", input="canvas", canvas="fixed")


def test_raw_outputs_are_compared_where_their_order_is_certain() -> None:
    """Not those of points on boxes, which stand in the order of the boxes' scores: two that are nearly equal may change places."""
    model = multi_branch("boxes, and points on these boxes").eval()
    images, sizes = torch.zeros(2, 3, 64, 64, dtype=torch.uint8), torch.tensor([[64, 64]] * 2)
    with torch.no_grad():
        outputs, _ = model.run(images, sizes)
    compared = {id(value) for value in raw_outputs(model, outputs)}
    own = {name: {id(value) for value in tree.tree_leaves(value)} for name, value in outputs.items()}
    assert compared & own["boxes"] and not compared & own["pose"]
