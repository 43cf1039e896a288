"""Half precision and 8-bit integers are for the network alone, and their files pass a gate of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vertebra
from vertebra.errors import ConfigError, ExportError
from vertebra.export.export_model import export_model
from vertebra.export.job import ExportTolerances
from vertebra.export.parity import check_metrics
from vertebra.export.passes.fp16 import to_float16
from vertebra.export.passes.int8 import to_int8
from vertebra.export.passes.network_nodes import network_nodes
from vertebra.inference.exported_model import ExportedModel
from vertebra.model import VisionModel
from vertebra.runtimes.onnx import OnnxSession

BRANCHES: dict[str, Any] = {
    "animal": {"decoder": "linear", "classes": ["dog", "cat"]},
    "boxes": {"neck": "fpn", "decoder": "fcos", "classes": ["dog", "cat"]},
    "regions": {"decoder": "fcn", "classes": ["dog", "cat"]},
}


@pytest.fixture(scope="module")
def model() -> VisionModel:
    torch.manual_seed(0)
    made = vertebra.create_model("test_resnet", branches=BRANCHES, image_size=(64, 96), resize="letterbox").eval()
    for value in made.buffers():  # statistics that BatchNorm would not have without training
        if value.is_floating_point():
            value.add_(0.1 * torch.rand_like(value))
    return made


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, (50, 80, 3), dtype=np.uint8) for _ in range(6)]


@pytest.fixture(scope="module")
def exact(model: VisionModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exact") / "model.onnx"
    export_model(model, path, input="canvas", canvas="fixed")
    return path


def made_graph() -> Any:
    """A layer, an addition of a constant to its map, another layer, and what reads a box out of it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.ones((2, 2, 1, 1), dtype=np.float32) * 3000, "weight")
    shift = numpy_helper.from_array(np.ones((1, 2, 1, 1), dtype=np.float32), "shift")
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Conv", ["pixels", "weight"], ["first"], "first"),
        helper.make_node("Add", ["first", "shift"], ["moved"], "moved"),
        helper.make_node("Conv", ["moved", "weight"], ["second"], "second"),
        helper.make_node("Add", ["second", "shift"], ["box"], "box"),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 2, 1, 1])
    sizes = helper.make_tensor_value_info("sizes", TensorProto.INT64, ["n", 2])
    box = helper.make_tensor_value_info("box", TensorProto.FLOAT, ["n", 2, 1, 1])
    graph = helper.make_graph(nodes, "made", [images, sizes], [box], [weight, shift])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), onnx


def test_the_network_ends_at_its_last_layer() -> None:
    proto, _ = made_graph()
    assert [node.name for node in network_nodes(proto.graph)] == ["first", "moved", "second"]


def test_half_precision_stops_where_decoding_begins(tmp_path: Path) -> None:
    proto, onnx = made_graph()
    onnx.save(proto, str(tmp_path / "whole.onnx"))
    to_float16(tmp_path / "whole.onnx", tmp_path / "half.onnx")
    half = onnx.load(str(tmp_path / "half.onnx"))
    types = {value.name: value.data_type for value in half.graph.initializer}
    assert types == {"shift": onnx.TensorProto.FLOAT, "weight_float16": 10, "shift_float16": 10}
    casts = [node.name for node in half.graph.node if node.op_type == "Cast"]
    assert casts == ["cast", "pixels_enters", "second_leaves"]
    OnnxSession(tmp_path / "half.onnx").run(np.ones((1, 2, 1, 1), np.uint8), np.ones((1, 2), np.int64))


def test_files_are_smaller_and_say_nearly_the_same(exact: Path, model: VisionModel, tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    images = draw.integers(0, 256, (3, 3, 64, 96), dtype=np.uint8)
    sizes = np.array([[64, 96]] * 3)
    to_float16(exact, tmp_path / "half.onnx")
    to_int8(exact, tmp_path / "int8.onnx", [(images[:1], sizes[:1]), (images[1:2], sizes[1:2])])
    whole = OnnxSession(exact)
    expected = dict(zip(whole.outputs, whole.run(images, sizes), strict=True))
    for name, tolerance in (("half", 0.01), ("int8", 0.15)):
        session = OnnxSession(tmp_path / f"{name}.onnx")
        got = dict(zip(session.outputs, session.run(images, sizes), strict=True))
        for output in ("animal/probabilities", "regions/probabilities"):
            apart = np.abs(expected[output] - got[output]).max()
            assert 0 < apart < tolerance, (name, output)


def test_int8_is_calibrated_and_compared(model: VisionModel, pictures: list[np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--calibrate"):
        export_model(model, tmp_path / "a.onnx", precision="int8")
    told: list[str] = []
    path = tmp_path / "int8.onnx"
    report = export_model(
        model,
        path,
        precision="int8",
        input="canvas",
        canvas="fixed",
        images=pictures,
        tolerances=ExportTolerances(agreement=0.3),
        progress=told.append,
    )
    assert report["precision"] == "int8" and "calibrated with 6 images" in " ".join(told)
    assert len([name for name in report["agreement"] if name.startswith("real image")]) == 6
    assert ExportedModel(path, precision="int8").report == json.loads(json.dumps(report))
    with pytest.raises(ExportError, match=r"agrees with PyTorch by 0\.\d+ on real image .*; 1 is required"):
        export_model(
            model,
            tmp_path / "strict.onnx",
            precision="int8",
            input="canvas",
            canvas="fixed",
            images=pictures,
            tolerances=ExportTolerances(agreement=1.0),
        )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["int8.onnx", "int8.onnx.json"]


def test_a_metric_that_falls_ends_the_export() -> None:
    kept = check_metrics({"a/map": 0.5, "a/map_50": 0.9}, {"a/map": 0.495, "a/map_50": 0.1}, ["a/map"], 0.01)
    assert kept == {"a/map": [0.5, 0.495]}
    with pytest.raises(ExportError, match=r"a/map is 0\.4800 with the exported file and 0\.5000 with the model"):
        check_metrics({"a/map": 0.5}, {"a/map": 0.48}, ["a/map"], 0.01)
    with pytest.raises(ExportError, match="a/map is nan"):
        check_metrics({"a/map": 0.5}, {"a/map": float("nan")}, ["a/map"], 0.01)
