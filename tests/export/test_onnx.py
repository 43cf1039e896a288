"""Each decoder's forward and decode is one ONNX graph that says the same in ONNX Runtime, at any batch size."""

from __future__ import annotations

from pathlib import Path

import pytest

from vertebra import create_model
from vertebra.parts import names
from vertebra.testing import check_export


@pytest.mark.parametrize("decoder", names("decoder"))
def test_every_decoder_exports(decoder: str, tmp_path: Path) -> None:
    model = create_model("resnet10t", decoder=decoder, classes=["a", "b", "c"], image_size=(64, 96))
    check_export(model, tmp_path)


@pytest.mark.parametrize("decoder", ["retinanet", "fcos"])
def test_fewer_candidates_than_are_kept(decoder: str, tmp_path: Path) -> None:
    model = create_model("resnet10t", decoder=decoder, classes=["a"], image_size=(32, 32), resize="letterbox")
    check_export(model, tmp_path)


def test_three_branches_export_as_one_file(tmp_path: Path) -> None:
    model = create_model(
        "mobilenetv2_035",
        branches={
            "animal": {"decoder": "linear", "classes": ["dog", "cat"]},
            "boxes": {"neck": "fpn", "decoder": "retinanet", "classes": ["dog", "cat"]},
            "regions": {"encoder": "transformer", "decoder": "unet", "classes": ["dog"], "exclusive": False},
        },
        image_size=(64, 96),
    )
    check_export(model, tmp_path, batch=5)
