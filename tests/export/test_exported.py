"""An exported file predicts as the model does, without torch, and a file that does not never gets its name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vertebra
from vertebra.errors import TRAINING_PACKAGES, ConfigError, ExportError, RunError, WeightsError
from vertebra.export.export_model import export_model
from vertebra.export.targets import via_onnx
from vertebra.inference.exported_model import ExportedModel, ExportedPredictor
from vertebra.model import VisionModel

BRANCHES: dict[str, Any] = {
    "animal": {"decoder": "linear", "classes": ["dog", "cat"]},
    "boxes": {"neck": "fpn", "decoder": "retinanet", "classes": ["dog", "cat"]},
    "regions": {"encoder": "aspp", "decoder": "deeplabv3plus", "classes": ["dog"], "multilabel": True},
    "limbs": {
        "decoder": "heatmap",
        "classes": ["dog"],
        "points": ["nose", "l_ear", "r_ear"],
        "skeleton": [[0, 1], [0, 2]],
        "flip_pairs": [[1, 2]],
    },
}


@pytest.fixture(scope="module")
def model() -> VisionModel:
    torch.manual_seed(0)
    return vertebra.create_model("resnet10t", branches=BRANCHES, image_size=(64, 96), resize="letterbox").eval()


@pytest.fixture(scope="module")
def exported(model: VisionModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    report = export_model(model, path, input="canvas")
    assert report["free_canvas"] and len(report["differences"]) == 4
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    folder = tmp_path / "images"
    folder.mkdir()
    for name, shape in (("a.png", (40, 70, 3)), ("b.jpg", (61, 33, 3)), ("c.png", (100, 100, 3))):
        Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    return folder


def test_tiles(model: VisionModel, exported: Path, images: Path) -> None:
    options: dict[str, Any] = {"threshold": 0.0, "tile": 48, "overlap": 0.25}
    ours = ExportedPredictor(ExportedModel(exported), **options).predict(images)
    for result, expected in zip(ours, model.predict(images, device="cpu", **options), strict=True):
        np.testing.assert_allclose(result["animal"].probabilities, expected["animal"].probabilities, atol=1e-4)
        np.testing.assert_allclose(result["limbs"].points, expected["limbs"].points, atol=1e-2)
        assert len(result["limbs"]) == 1, "the points of one object that fills the image are sought in the whole image"
        assert np.mean(result["regions"].mask != expected["regions"].mask) < 0.01
        assert len(result["boxes"]) == pytest.approx(len(expected["boxes"]), abs=2)


@pytest.mark.parametrize("views", [{"flip": True, "scales": (1, 0.75, 1.25)}, {"scales": (1.5,), "tile": 48}])
def test_looks(model: VisionModel, exported: Path, images: Path, views: dict[str, Any]) -> None:
    file = ExportedModel(exported)
    plain = file.predict(images, threshold=0.0)
    for ours, expected, other in zip(
        file.predict(images, threshold=0.0, **views),
        model.predict(images, threshold=0.0, device="cpu", **views),
        plain,
        strict=True,
    ):
        np.testing.assert_allclose(ours["animal"].probabilities, expected["animal"].probabilities, atol=1e-4)
        assert np.abs(ours["animal"].probabilities - other["animal"].probabilities).max() > 1e-4
        np.testing.assert_allclose(ours["limbs"].points, expected["limbs"].points, atol=1e-2)
        assert np.mean(ours["regions"].mask != expected["regions"].mask) < 0.01
        assert len(ours["boxes"]) == pytest.approx(len(expected["boxes"]), abs=2)


def test_a_file_of_one_canvas_flips_only(images: Path, tmp_path: Path) -> None:
    model = vertebra.create_model("test_resnet", decoder="linear", classes=["a", "b"], image_size=(64, 64)).eval()
    (expected,) = model.predict(images / "a.png", flip=True, device="cpu")
    for name, options, why in (
        ("fixed.onnx", {"input": "canvas", "canvas": "fixed"}, "fixed.onnx was made for canvases of 64x64"),
        ("pixels.onnx", {"input": "pixels"}, "pixels.onnx puts images onto its canvas itself"),
    ):
        export_model(model, tmp_path / name, **options)  # type: ignore[arg-type]
        file = ExportedModel(tmp_path / name)
        with pytest.raises(ConfigError, match=f"'scales' needs a model that takes canvases of any size, but {why}"):
            file.predict(images, scales=(1, 1.25))
        (ours,) = file.predict(images / "a.png", flip=True)
        np.testing.assert_allclose(ours["classify"].probabilities, expected["classify"].probabilities, atol=5e-3)


def test_the_same_predictions(model: VisionModel, exported: Path, images: Path) -> None:
    file = vertebra.load(exported)
    assert isinstance(file, ExportedModel)
    for ours, theirs in zip(file.predict(images), model.predict(images), strict=True):
        assert ours.path == theirs.path and ours.size == theirs.size
        np.testing.assert_allclose(ours["animal"].probabilities, theirs["animal"].probabilities, atol=1e-5)
        np.testing.assert_allclose(ours["boxes"].scores, theirs["boxes"].scores, atol=1e-5)
        assert (ours["regions"].mask == theirs["regions"].mask).mean() > 0.999
        np.testing.assert_allclose(ours["limbs"].points, theirs["limbs"].points, atol=1e-2)
        assert ours["limbs"].to_dict().keys() == theirs["limbs"].to_dict().keys()
        assert ours["boxes"].spec == theirs["boxes"].spec
        assert ours["boxes"].draw().size == theirs["boxes"].draw().size


def test_without_torch(exported: Path, images: Path) -> None:
    code = (
        "import sys\n"
        # an import of these fails; typer needs pydantic
        f"sys.modules.update(dict.fromkeys({sorted(TRAINING_PACKAGES - {'pydantic'})!r}))\n"
        "import json, vertebra\n"
        f"found = vertebra.load({str(exported)!r}).predict({str(images)!r}, threshold=0.0)\n"
        "print(json.dumps([result.to_dict() for result in found]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, *others = json.loads(done.stdout)
    assert len(others) == 2 and set(first) == {"image", "height", "width", *BRANCHES}


def test_what_is_not_installed_is_told(tmp_path: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; import vertebra.cli.main as cli; sys.argv[1:] = ['describe', 'x']; cli.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "this needs 'torch'" in done.stderr and "pip install '.[train]'" in done.stderr
    code = "import sys; sys.modules['torch'] = None; import vertebra; vertebra.create_model"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigError: this needs 'torch'" in done.stderr


def test_a_fixed_canvas_says_why(tmp_path: Path) -> None:
    model = vertebra.create_model("test_resnet", decoder="linear", classes=["a", "b"], image_size=(64, 64))
    model.backbone.fixed_size = (64, 64)  # type: ignore[assignment]  # as of a transformer that is built for one size
    report = export_model(model, tmp_path / "vit.onnx", input="canvas")
    assert not report["free_canvas"] and "64x64" in report["why_fixed"]
    with pytest.raises(ExportError, match="the canvas cannot be free"):
        export_model(model, tmp_path / "free.onnx", canvas="free")


def test_a_file_that_says_something_else_gets_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    branches = {"animal": BRANCHES["animal"]}
    model = vertebra.create_model("test_resnet", branches=branches, image_size=(64, 96), resize="letterbox").eval()
    whole = via_onnx.optimized_copy

    def wrong(given: VisionModel) -> VisionModel:
        copied = whole(given)
        bias: Any = copied.branch("animal").decoder.get_parameter("classifier.bias")
        copied.branch("animal").decoder.classifier.bias = torch.nn.Parameter(bias.detach() + torch.tensor([0.0, 0.01]))
        return copied

    monkeypatch.setattr(via_onnx, "optimized_copy", wrong)
    with pytest.raises(ExportError, match=r"'animal/probabilities .* differs by .* of its largest value from PyTorch"):
        export_model(model, tmp_path / "wrong.onnx", input="canvas", canvas="fixed")
    assert not list(tmp_path.iterdir())


def test_the_model_stays_as_it_is_and_may_be_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = vertebra.create_model("test_resnet", decoder="linear", classes=["a", "b"], image_size=(32, 32)).train()
    export_model(model, tmp_path / "small.onnx", input="canvas", canvas="fixed")
    assert model.training
    monkeypatch.setattr(via_onnx.ViaOnnx, "max_weight_bytes", 1000)
    with pytest.raises(ExportError, match=r"a \.onnx file can hold 0\.0 GB"):
        export_model(model, tmp_path / "large.onnx")


def test_nothing_is_overwritten(model: VisionModel, exported: Path) -> None:
    with pytest.raises(RunError, match="nothing is overwritten"):
        export_model(model, exported)


def test_other_files(tmp_path: Path, exported: Path) -> None:
    import onnx

    plain = onnx.load(str(exported))
    del plain.metadata_props[:]  # its checksum too
    onnx.save(plain, str(tmp_path / "plain.onnx"))
    (tmp_path / "text.onnx").write_text("hello")
    for name, message in (
        ("plain.onnx", "no file that Vertebra exported"),
        ("text.onnx", "not an ONNX file"),
        ("none.onnx", "no such file"),
    ):
        with pytest.raises(WeightsError, match=message):
            vertebra.load(tmp_path / name)


def test_the_predictor_of_a_file_takes_the_usual_options(exported: Path, images: Path) -> None:
    (images / "bad.png").write_bytes(b"no picture")
    predictor = ExportedPredictor(ExportedModel(exported), batch_size=1, threshold=1.0, skip_unreadable=True)
    assert len(predictor.predict(images)) == 3 and "bad.png" in predictor.skipped[0].reason
