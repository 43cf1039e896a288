"""Each decoder's forward and decode is one ONNX graph that says the same in ONNX Runtime, at any batch size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.daily_sample import daily_sample
from vertebra import create_model
from vertebra.export.parity import reorder_ties
from vertebra.export.torch_export import canvas_of_example
from vertebra.parts import find, names
from vertebra.testing import check_export
from vertebra.testing.matrix import boxes_from
from vertebra.testing.synthetic import fake_fields

EACH_DAY = 5


@pytest.mark.parametrize("decoder", daily_sample(names("decoder"), EACH_DAY))
def test_every_decoder_exports(decoder: str, tmp_path: Path) -> None:
    model = create_model(
        "resnet10t",
        decoder=decoder,
        boxes_from=boxes_from(decoder),
        classes=["a", "b", "c"],
        image_size=(64, 96),
        labels=fake_fields(find("decoder", decoder).task),
    )
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
            "regions": {"encoder": "transformer", "decoder": "unet", "classes": ["dog"], "multilabel": True},
        },
        image_size=(64, 96),
    )
    check_export(model, tmp_path)


def test_an_example_has_several_cells_and_several_windows() -> None:
    """A graph made from one window holds for one only; timm's Swin has windows of 7 cells on its coarsest level of stride 32."""
    swin = "swin_tiny_patch4_window7_224"
    for backbone, neck, decoder, side in (
        (swin, None, "linear", 256),
        (swin, "fpn", "retinanet", 384),  # three cells of stride 128
        ("test_resnet", None, "linear", 96),
    ):
        model = create_model(backbone, neck=neck, decoder=decoder, classes=["a", "b"], image_size=(64, 64))
        assert canvas_of_example(model, free=True) == (side, side)
        assert canvas_of_example(model, free=False) == (64, 64)


def test_boxes_that_tie_may_change_places_and_nothing_else() -> None:
    names = ["b/boxes", "b/scores", "b/labels"]
    expected = [np.array([[[0, 0, 1, 1], [5, 5, 9, 9.0]]]), np.array([[0.5, 0.5 - 1e-8]]), np.array([[0, 1]])]
    swapped = [values[:, ::-1].copy() for values in expected]
    reorder_ties(names, expected, swapped)
    for left, right in zip(expected, swapped, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-7)
    wrong = [expected[0] + [[[0, 0, 0, 3.0]]], np.array([[0.5, 0.4]]), expected[2]]
    kept = [values.copy() for values in wrong]
    reorder_ties(names, expected, wrong)
    for left, right in zip(kept, wrong, strict=True):
        np.testing.assert_array_equal(left, right)
