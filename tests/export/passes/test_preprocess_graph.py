"""A file that holds preprocessing takes images of any size and says what the model says of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vertebra
from vertebra.errors import ConfigError, ExportError
from vertebra.export.export_model import export_model
from vertebra.export.passes import preprocess_graph
from vertebra.export.passes.preprocess_graph import ToCanvas, color_blocks
from vertebra.inference.exported_model import ExportedModel, PixelPredictor
from vertebra.model import VisionModel
from vertebra.preprocess import image_transform_torch
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.image_transform_torch import ImageTransforms, filter_matrix
from vertebra.preprocess.images import apply, resize

BRANCHES: dict[str, Any] = {
    "animal": {"decoder": "linear", "classes": ["dog", "cat"]},
    "boxes": {"neck": "fpn", "decoder": "fcos", "classes": ["dog", "cat"]},
    "regions": {"decoder": "upsample", "classes": ["dog", "cat"]},
    "limbs": {"decoder": "heatmap", "classes": ["dog"], "points": ["nose", "tail"]},
}


@pytest.fixture(scope="module")
def model() -> VisionModel:
    torch.manual_seed(0)
    return vertebra.create_model("test_resnet", branches=BRANCHES, image_size=(64, 96), resize="letterbox").eval()


@pytest.fixture(scope="module")
def exported(model: VisionModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pixels") / "model.onnx"
    report = export_model(model, path)
    assert report["input"] == "pixels" and len(report["pixels"]) == 4
    return path


@pytest.mark.parametrize(
    "resize_spec",
    [
        ResizeSpec((96, 128)),
        ResizeSpec((96, 128), "resize"),
        ResizeSpec((96, 128), "center_crop"),
        ResizeSpec((96, 128), "center_crop", crop=0.875),
    ],
    ids=lambda resize_spec: f"{resize_spec.mode} {resize_spec.crop}",
)
@pytest.mark.parametrize("size", [(427, 640), (33, 41), (96, 128), (128, 96), (300, 80), (97, 129)])
def test_images_come_onto_the_canvas_as_pillow_brings_them(resize_spec: ResizeSpec, size: tuple[int, int]) -> None:
    draw = np.random.default_rng(0)
    image = draw.integers(0, 256, (*size, 3), dtype=np.uint8)
    canvas, sizes, original, resized, offset = ToCanvas(resize_spec, 3)(torch.from_numpy(image)[None])
    transform = resize_spec.transform(*size)
    apart = np.abs(canvas[0].permute(1, 2, 0).numpy().astype(int) - apply(resize_spec, image))
    assert apart.max() <= 1
    assert tuple(sizes[0].tolist()) == transform.size and tuple(original.tolist()) == size
    assert tuple(resized.tolist()) == transform.resized and offset.tolist() == [transform.top, transform.left]


def test_the_filter_is_the_resize_rule() -> None:
    draw = np.random.default_rng(0)
    row = draw.integers(0, 256, (1, 50, 1), dtype=np.uint8)
    for places in (20, 50, 90):
        weights = filter_matrix(50, places, torch.tensor(50.0), torch.tensor(float(places)), torch.zeros(()))
        ours = weights @ torch.from_numpy(row[0, :, 0]).float()
        assert np.abs(ours.round().numpy() - resize(row, (1, places))[0, :, 0]).max() <= 1
    # 4 pixels become 2: the triangle reaches over 4 pixels, and at the edge over the 3 that there are
    halved = filter_matrix(4, 2, torch.tensor(4.0), torch.tensor(2.0), torch.zeros(()))
    expected = np.array([[3, 3, 1, 0], [0, 1, 3, 3]]) / 7
    np.testing.assert_allclose(halved.numpy(), expected, atol=1e-6)


def test_points_and_boxes_go_back() -> None:
    resize_spec = ResizeSpec((96, 128), "center_crop")
    transform = resize_spec.transform(200, 300)
    geometry = ImageTransforms(
        *(
            torch.tensor(v, dtype=torch.float32)
            for v in (transform.original, transform.resized, (transform.top, transform.left))
        )
    )
    points = np.array([[3.0, 4.0], [100.0, 50.0]], dtype=np.float32)
    np.testing.assert_allclose(
        geometry.points_to_image(torch.from_numpy(points)), transform.points_to_image(points), atol=1e-4
    )
    boxes = np.array([[-30.0, 4.0, 500.0, 50.0]], dtype=np.float32)
    np.testing.assert_allclose(
        geometry.boxes_to_image(torch.from_numpy(boxes)), transform.boxes_to_image(boxes), atol=1e-4
    )


def predicted(model: Any, images: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    return [dict(result.items()) for result in model.predict(list(images), threshold=0.0)]


def test_the_same_predictions(model: VisionModel, exported: Path) -> None:
    images = color_blocks(model.resize_spec, 3)
    file = vertebra.load(exported)
    for ours, theirs in zip(predicted(file, images), predicted(model, images), strict=True):
        np.testing.assert_allclose(ours["animal"].probabilities, theirs["animal"].probabilities, atol=1e-3)
        np.testing.assert_allclose(ours["boxes"].scores, theirs["boxes"].scores, atol=1e-3)
        np.testing.assert_allclose(ours["limbs"].points, theirs["limbs"].points, atol=0.5)
        assert ours["regions"].mask.shape == theirs["regions"].mask.shape
        assert (ours["regions"].mask == theirs["regions"].mask).mean() > 0.99


def test_images_of_one_size_go_together(exported: Path) -> None:
    draw = np.random.default_rng(0)
    sizes = [(40, 50), (40, 50), (30, 30), (40, 50), (40, 50), (40, 50)]
    images = [draw.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    seen = []

    class Watched(PixelPredictor):
        def run(self, canvases: np.ndarray, sizes: np.ndarray) -> Any:
            seen.append(canvases.shape)
            return super().run(canvases, sizes)

    results = Watched(ExportedModel(exported), batch_size=2).predict(images)
    assert seen == [(2, 40, 50, 3), (1, 30, 30, 3), (2, 40, 50, 3), (1, 40, 50, 3)]
    assert [result.size for result in results] == sizes


def test_without_vertebra(exported: Path, model: VisionModel) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == ["pixels"]
    image = color_blocks(model.resize_spec, 3)[0]
    probabilities, mask = session.run(["animal/probabilities", "regions/probabilities"], {"pixels": image[None]})
    assert probabilities.shape == (1, 2) and mask.shape == (1, 2, *image.shape[:2])
    (result,) = predicted(model, [image])
    np.testing.assert_allclose(probabilities[0], result["animal"].probabilities, atol=1e-3)


def test_wrong_preprocessing_is_found_out(model: VisionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = vertebra.create_model("test_resnet", decoder="linear", classes=["a", "b"], image_size=(64, 96)).eval()
    model.resize_spec = ResizeSpec((64, 96))
    whole = image_transform_torch.filter_matrix
    monkeypatch.setattr(
        image_transform_torch, "filter_matrix", lambda *parts: whole(*parts).round()
    )  # nearest neighbor, as it were
    with pytest.raises(ExportError, match=r"pixels 37x51: the graph puts the image on .* \d+ gray levels off"):
        export_model(model, tmp_path / "wrong.onnx")
    monkeypatch.undo()
    monkeypatch.setattr(preprocess_graph, "_joined", lambda *parts: _mixed_up(pixels_joined(*parts)))
    with pytest.raises(ExportError, match="the graph puts the image on"):
        export_model(model, tmp_path / "wrong.onnx")
    assert not list(tmp_path.iterdir())


pixels_joined = preprocess_graph._joined


def _mixed_up(proto: Any) -> Any:
    """A graph whose images enter upside down."""
    import onnx

    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.array([value], dtype=np.int64), name)
        for name, value in (("last", -1), ("first", -(2**31)), ("axis", 1), ("back", -1))
    )
    node = proto.graph.node[0]
    flipped = onnx.helper.make_node("Slice", ["pixels", "last", "first", "axis", "back"], ["flipped"], "flip")
    node.input[0] = "flipped"
    proto.graph.node.insert(0, flipped)
    return proto


def test_openvino_with_preprocessing_inside(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    model = vertebra.create_model("test_resnet", decoder="upsample", classes=["a", "b"], image_size=(64, 64)).eval()
    images = color_blocks(model.resize_spec, 3)
    export_model(model, tmp_path / "model.xml", precision="fp16", images=images[:1])
    for ours, theirs in zip(
        predicted(vertebra.load(tmp_path / "model.xml"), images), predicted(model, images), strict=True
    ):
        assert ours["segment"].mask.shape == theirs["segment"].mask.shape
        assert (ours["segment"].mask == theirs["segment"].mask).mean() > 0.97


def test_what_cannot_be(model: VisionModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a \.pt2 file takes canvases"):
        export_model(model, tmp_path / "model.pt2", input="pixels")
    with pytest.raises(ConfigError, match="takes images of any size"):
        export_model(model, tmp_path / "model.onnx", input="pixels", canvas="free")
    with pytest.raises(ExportError, match="each image has its own canvas size"):
        ToCanvas(ResizeSpec((64, 64), "shortest_edge"), 3)
