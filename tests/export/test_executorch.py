"""ExecuTorch files say what the model says, at every batch size that they promise."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import vertebra
from tests.daily_sample import WHOLE
from tests.weights.peers.randomize import randomize
from vertebra.encoders.conv import ConvEncoder
from vertebra.errors import ConfigError, ExportError, WeightsError
from vertebra.export import options
from vertebra.export.export_model import export_model
from vertebra.export.targets.executorch import MAX_BATCH, pad_with_slices
from vertebra.inference.exported_model import ExportedModel
from vertebra.model import VisionModel
from vertebra.runtimes import open_file
from vertebra.runtimes.model_files.checksum import verify_checksum
from vertebra.weights.model_file import describe

needs_executorch = pytest.mark.skipif(
    importlib.util.find_spec("executorch") is None, reason="ExecuTorch is not installed"
)


def made(branches: dict[str, dict[str, object]]) -> VisionModel:
    torch.manual_seed(0)
    return randomize(vertebra.create_model("test_resnet", branches=branches, image_size=(32, 64), resize="letterbox"))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def model() -> VisionModel:
    return made(
        {
            "animal": {"decoder": "linear", "classes": ["dog", "cat", "cow"]},
            "regions": {"decoder": "upsample", "classes": ["dog", "cat"]},
        }
    )


@needs_executorch
def test_the_same_predictions(model: VisionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pte"
    report = export_model(model, path)
    assert max(report["differences"].values()) < 1e-4 and not report["free_canvas"]
    assert report["why_fixed"] == "ExecuTorch plans its memory in advance"
    with monkeypatch.context() as patch:
        verified = Mock(side_effect=verify_checksum)
        patch.setattr("vertebra.runtimes.model_files.exported_files.verify_checksum", verified)
        file = vertebra.load(path)
    verified.assert_called_once()
    assert isinstance(file, ExportedModel) and file.config == describe(model)["model"]
    assert "executorch" in file.report["versions"]
    draw = np.random.default_rng(0)
    pictures = [draw.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((50, 80), (33, 97), (128, 64))]
    for ours, theirs in zip(file.predict(pictures, batch_size=2), model.predict(pictures, batch_size=2), strict=True):
        np.testing.assert_allclose(ours["animal"].probabilities, theirs["animal"].probabilities, atol=1e-5)
        assert (ours["regions"].mask == theirs["regions"].mask).mean() > 0.999
    _damaged(path, tmp_path / "damaged.pte")
    session = open_file(path)
    assert session.inputs == {"images": [None, 3, 32, 64], "sizes": [None, 2]}
    with pytest.raises(ConfigError, match=r"takes 'images' of shape \(N, 3, 32, 64\), not \(1, 3, 64, 32\)"):
        session.run(np.zeros((1, 3, 64, 32), np.uint8), np.array([[64, 32]]))  # it fits the memory, and would be wrong
    for count in (1, MAX_BATCH, MAX_BATCH + 3):
        images = draw.integers(0, 256, (count, 3, 32, 64), dtype=np.uint8)
        first, second = (session.run(images, np.array([[32, 64]] * count)) for _ in range(2))
        assert len(first[0]) == count and (first[0] == second[0]).all()
    with pytest.raises(ConfigError, match=r"a \.pte file runs on the CPU"):
        open_file(path, threads=2)
    with pytest.raises(ExportError, match="the canvas cannot be free: ExecuTorch plans"):
        export_model(model, tmp_path / "free.pte", canvas="free")
    assert not (tmp_path / "free.pte").exists()


def _damaged(good: Path, path: Path) -> None:
    """Every flipped bit and every cut is told in one line before ExecuTorch sees the file, which would end the process."""
    whole = good.read_bytes()
    draw = np.random.default_rng(0)
    for place in [*draw.integers(0, len(whole), 30).tolist(), *range(len(whole) - 90, len(whole), 7)]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << draw.integers(0, 8)
        for content in (bytes(flipped), whole[:place]):
            path.write_bytes(content)
            with pytest.raises(WeightsError, match=r"^[^\n]+$"):
                vertebra.load(path)


@needs_executorch
@pytest.mark.skipif(not WHOLE, reason="takes minutes; make matrix runs it")
def test_a_detector(tmp_path: Path) -> None:
    model = made({"boxes": {"neck": "fpn", "decoder": "retinanet", "classes": ["dog", "cat"]}})
    report = export_model(model, tmp_path / "model.pte")
    assert max(report["differences"].values()) < 1e-4


@needs_executorch
def test_what_is_no_file_of_executorch(tmp_path: Path) -> None:
    head = struct.pack("<I4s4sIQQQ", 60, b"ET12", b"eh00", 32, 100, 128, 72)
    for content, said in (
        (b"", "not a .pte file"),
        (b"nothing of the kind", "not a .pte file"),
        (head, "truncated"),
        (head.ljust(200, b"\0"), "has no checksum: .*, or an older version did; export it again"),
        (struct.pack("<I4s4sIQQQ", 60, b"ET12", b"eh00", 32, 2**63, 128, 72).ljust(200, b"\0"), "truncated"),
    ):
        (tmp_path / "broken.pte").write_bytes(content)
        with pytest.raises(WeightsError, match=rf"^\S+broken\.pte: not loaded, [^\n]*{said}[^\n]*$"):
            vertebra.load(tmp_path / "broken.pte")


def test_options_that_do_not_go_with_it(model: VisionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ({"input": "pixels"}, {"precision": "fp16"}):
        with pytest.raises(ConfigError, match=r"a \.pte file"):
            export_model(model, tmp_path / "model.pte", **wrong)  # type: ignore[arg-type]
    own_canvases = vertebra.create_model("test_resnet", decoder="fcn", classes=["a", "b"], resize="shortest_edge")
    with pytest.raises(ConfigError, match=r"a \.pte file has a fixed canvas"):
        export_model(own_canvases, tmp_path / "model.pte")
    monkeypatch.setattr(options.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install '.\[executorch\]'"):
        export_model(model, tmp_path / "model.pte")


class MyEncoder(ConvEncoder):
    """An encoder of a user's own."""


@needs_executorch
@pytest.mark.filterwarnings("ignore::vertebra.errors.ObjectPartWarning")
@pytest.mark.parametrize("encoder", [None, MyEncoder])
def test_a_canvas_that_the_strides_do_not_divide(encoder: object, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = vertebra.create_model(
        "test_resnet", encoder=encoder, decoder="fcn", classes=["a", "b"], image_size=(48, 40)
    )
    report = export_model(randomize(model), tmp_path / "model.pte")  # type: ignore[arg-type]
    assert max(report["differences"].values()) < 1e-4


@pytest.mark.parametrize("pads", [(0, -2, 0, -3), (-1, 0, -2, -1), (2, -1, -1, 3), (-1, -1)])
def test_padding_that_cuts_off_becomes_slices(pads: tuple[int, ...]) -> None:
    maps = torch.randn(2, 3, 7, 9)
    assert torch.equal(pad_with_slices(maps, pads, "constant", 0.5), F.pad(maps, pads, value=0.5))
    assert torch.equal(pad_with_slices(maps, pads), F.pad(maps, pads))
    assert pad_with_slices(maps, (1, 0, 0, 0)) is NotImplemented
    assert pad_with_slices(maps, (1, 1), "reflect") is NotImplemented
