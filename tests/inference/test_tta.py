"""Mirrored and scaled looks: a model that knows what it sees says the same with them as without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vertebra
from tests.inference.painted import Painted, paint
from vertebra.errors import ConfigError
from vertebra.inference.predictor import Predictor
from vertebra.inference.results import Result
from vertebra.inference.tta import TTAView, check_scales, make_views, mirror
from vertebra.model_info import model_info
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.view_transform import ViewTransform
from vertebra.tasks import get_task

RECTANGLES = [(10, 12, 40, 30, 0), (44, 5, 58, 25, 1), (3, 60, 33, 94, 1), (36, 50, 56, 70, 0)]
TALL = paint((100, 60), RECTANGLES)  # fill at the right of a square canvas
WIDE = paint((60, 100), [(10, 12, 40, 30, 0), (50, 5, 95, 25, 1), (3, 40, 33, 55, 1)])  # fill below
ACROSS = [(10, 12, 40, 30, 0), (60, 40, 150, 62, 0), (120, 75, 176, 121, 1), (20, 70, 44, 130, 1)]
LARGE = paint((151, 187), ACROSS)


def assert_alike(ours: Result, plain: Result, pixels: float) -> None:
    """The same classes, objects and points to within some pixels, and masks but for the rims of what is painted."""
    np.testing.assert_allclose(ours["bright"].probabilities, plain["bright"].probabilities, atol=0.02 * pixels + 1e-6)
    for name in ("boxes", "corners"):
        assert ours[name].class_ids.tolist() == plain[name].class_ids.tolist()
        np.testing.assert_allclose(ours[name].boxes, plain[name].boxes, atol=pixels + 1e-3)
        np.testing.assert_allclose(ours[name].scores, plain[name].scores, atol=1e-6)
    np.testing.assert_allclose(ours["corners"].points, plain["corners"].points, atol=pixels + 1e-3)
    np.testing.assert_allclose(ours["corners"].point_scores, plain["corners"].point_scores, atol=1e-6)
    rims = np.zeros(plain.size, dtype=bool)  # painted colors blend there when they are resized, and are not known
    if pixels:
        for left, top, right, bottom in plain["boxes"].boxes.astype(int):
            rims[max(top - 3, 0) : bottom + 3, max(left - 3, 0) : right + 3] = True
        for left, top, right, bottom in plain["boxes"].boxes.astype(int):
            rims[top + 3 : bottom - 3, left + 3 : right - 3] = False
    for name in ("paint", "layers"):
        assert not ((ours[name].mask != plain[name].mask) & ~rims).any()


@pytest.mark.parametrize("image", [TALL, WIDE], ids=["tall", "wide"])
def test_mirrored_looks_say_exactly_the_same(image: np.ndarray) -> None:
    (plain,) = Painted((100, 100)).predict(image)
    (ours,) = Painted((100, 100), flip=True).predict(image)
    assert len(plain["boxes"]) >= 3
    assert_alike(ours, plain, pixels=0)


@pytest.mark.parametrize("scales", [(0.8, 1, 1.25), (1.25,), (0.8, 1.5)])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("image", [TALL, WIDE], ids=["tall", "wide"])
def test_scaled_looks_say_the_same(image: np.ndarray, flip: bool, scales: tuple[float, ...]) -> None:
    (plain,) = Painted((100, 100)).predict(image)
    (ours,) = Painted((100, 100), flip=flip, scales=scales).predict(image)
    assert_alike(ours, plain, pixels=1.3)


@pytest.mark.parametrize("options", [{"flip": True}, {"flip": True, "scales": (1, 1.25)}])
def test_looks_at_tiles(options: dict[str, Any]) -> None:
    (plain,) = Painted((100, 100), tile=100, batch_size=4).predict(LARGE)
    (ours,) = Painted((100, 100), tile=100, batch_size=4, **options).predict(LARGE)
    assert len(plain["boxes"]) == 4
    pixels = 1.3 if "scales" in options else 0
    np.testing.assert_allclose(ours["boxes"].boxes, plain["boxes"].boxes, atol=pixels + 1e-3)
    np.testing.assert_allclose(ours["corners"].boxes, plain["corners"].boxes, atol=pixels + 1e-3)
    np.testing.assert_allclose(ours["corners"].points[:, :2], plain["corners"].points[:, :2], atol=pixels + 1e-3)
    np.testing.assert_allclose(ours["boxes"].boxes, np.array(ACROSS)[:, :4], atol=pixels + 1e-3)
    assert (ours["paint"].mask != plain["paint"].mask).mean() <= 0.02 * pixels


def test_images_of_several_sizes_share_batches() -> None:
    images = [TALL, WIDE, paint((30, 30), [(4, 4, 20, 12, 1)]), TALL[:80], WIDE[:, :70]]
    model = Painted((100, 100), flip=True, scales=(1, 0.8), batch_size=2)
    together = model.predict(images)
    assert model.batches == [2] * 4 + [2] * 4 + [1] * 4
    for image, result in zip(images, together, strict=True):
        (alone,) = Painted((100, 100), flip=True, scales=(1, 0.8)).predict(image)
        assert_alike(result, alone, pixels=0)


def test_without_looks_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[np.ndarray] = []

    class Noted(Painted):
        def run(self, canvases: np.ndarray, sizes: np.ndarray) -> Mapping[str, Sequence[np.ndarray]]:
            calls.append(canvases)
            return super().run(canvases, sizes)

    def refuse(*_: Any) -> None:
        raise AssertionError("nothing is to be merged")

    for name in ("classify", "detect", "keypoints", "segment"):
        monkeypatch.setattr(get_task(name).tta_merger, "__init__", refuse)
    images = [np.ascontiguousarray(TALL), np.ascontiguousarray(TALL[:, ::-1])]
    model = Noted((100, 60))
    assert model.multi_view is None
    assert len(model.predict(images)) == 2 and len(calls) == 1
    np.testing.assert_array_equal(calls[0], np.stack(images))
    with pytest.raises(AssertionError):
        Noted((100, 60), flip=True).predict(images)


def test_each_look_is_a_run_of_its_own_size() -> None:
    shapes: list[tuple[int, ...]] = []
    mirrored: list[bool] = []

    class Noted(Painted):
        def run(self, canvases: np.ndarray, sizes: np.ndarray) -> Mapping[str, Sequence[np.ndarray]]:
            shapes.append((*canvases.shape[:3], *sizes[0]))
            mirrored.append(bool(canvases[0, 20, :20].any()))
            return super().run(canvases, sizes)

    image = paint((100, 60), [(2, 2, 25, 98, 0)])
    Noted((101, 100), flip=True, scales=(0.8, 1)).predict(image)
    assert mirrored == [True, False, True, False]
    assert shapes == [(1, 101, 100, 101, 61)] * 2 + [(1, 81, 80, 81, 49)] * 2


def test_which_looks() -> None:
    assert make_views(False, [1]) == (TTAView(False, 1.0),)
    assert make_views(True, (0.8, 1, 1.25)) == (
        (False, 1.0),
        (True, 1.0),
        (False, 0.8),
        (True, 0.8),
        (False, 1.25),
        (True, 1.25),
    )
    assert check_scales("0.8, 1,1.25") == (0.8, 1.0, 1.25)


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ((), "a list of one number or more"),
        (1.25, "a list of one number or more"),
        ((0,), "above 0 and at most 4, such as 0.8, 1 and 1.25, got 0"),
        ((1, -0.5), "got -0.5"),
        ((80, 100), "got 80"),
        ((float("nan"),), "got nan"),
        ((True,), "got True"),
        (("1",), "got '1'"),
        ("1", "got '1'"),
        ((1, 0.5, 1.0), "has one twice: 1, 0.5, 1"),
    ],
)
def test_scales_that_are_none(scales: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Painted((100, 100), scales=scales)


@pytest.mark.parametrize("text", ["a,b", "", "1,,2", "0.8;1"])
def test_a_text_that_names_no_scales(text: str) -> None:
    with pytest.raises(ConfigError, match="numbers separated by commas"):
        check_scales(text)


def test_only_the_image_is_mirrored_and_not_the_fill() -> None:
    canvas = np.arange(8).reshape(1, 8, 1)
    np.testing.assert_array_equal(mirror(canvas, 5)[0, :, 0], [4, 3, 2, 1, 0, 5, 6, 7])
    np.testing.assert_array_equal(mirror(canvas, 8)[0, :, 0], [7, 6, 5, 4, 3, 2, 1, 0])
    np.testing.assert_array_equal(canvas[0, :, 0], np.arange(8))


@pytest.mark.parametrize("mode", ["letterbox", "resize", "center_crop", "shortest_edge"])
def test_the_way_back_of_every_plan(mode: Any) -> None:
    """A point of the image is found at its place on the plain canvas, from wherever it was seen."""
    resize_spec = ResizeSpec((40, 61), mode)
    points = np.array([[10.0, 7.0], [33.5, 20.25]], dtype=np.float32)
    plain, own = resize_spec.transform(50, 83), resize_spec.scaled(1.3).transform(50, 83)
    assert own.canvas == (52, 79) or mode == "shortest_edge"
    seen = own.points_to_canvas(points)
    seen[:, 0] = own.size[1] - seen[:, 0]
    sight = ViewTransform(plain, own, mirrored=True)
    np.testing.assert_allclose(sight.points(seen), plain.points_to_canvas(points), atol=1e-4)
    box = np.concatenate([seen.min(axis=0), seen.max(axis=0)])
    np.testing.assert_allclose(sight.boxes(box), plain.points_to_canvas(points).ravel(), atol=1e-4)
    assert ViewTransform(plain, plain, mirrored=False).points(points) is points, "the plain look needs no arithmetic"


# --- with a real model ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> vertebra.VisionModel:
    torch.manual_seed(0)
    return vertebra.create_model(
        "test_resnet",
        branches={
            "kind": {"decoder": "linear", "classes": ["dog", "cat"]},
            "boxes": {"neck": "fpn", "decoder": "retinanet", "classes": ["dog", "cat"]},
            "limbs": {
                "decoder": "heatmap",
                "boxes_from": "boxes",
                "classes": ["dog", "cat"],
                "points": ["l_ear", "r_ear"],
            },
            "pose": {"decoder": "heatmap", "classes": ["dog"], "points": ["nose", "tail"], "flip_pairs": []},
            "regions": {"decoder": "upsample", "classes": ["a", "b", "c"]},
        },
        image_size=(64, 64),
        resize="letterbox",
    ).eval()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (96, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_a_model_of_five_branches(model: vertebra.VisionModel, picture: Path) -> None:
    options: dict[str, Any] = {"threshold": 0.0, "device": "cpu"}
    (plain,) = model.predict(picture, **options)
    mirrored = np.asarray(Image.open(picture))[:, ::-1]
    (turned,) = model.predict(mirrored, **options)
    (ours,) = model.predict(picture, flip=True, **options)
    mean = (plain["kind"].probabilities + turned["kind"].probabilities) / 2
    np.testing.assert_allclose(ours["kind"].probabilities, mean, atol=2e-3)  # resized, then mirrored: a gray level
    assert len(ours["pose"]) == 1
    assert ours["pose"].scores[0] == pytest.approx((plain["pose"].scores[0] + turned["pose"].scores[0]) / 2, abs=2e-3)
    np.testing.assert_allclose(ours["pose"].boxes, [[0, 0, 50, 96]], atol=1e-3)
    assert ours["regions"].mask.shape == (96, 50) and len(ours["limbs"]) > 0
    assert len(ours["boxes"]) <= len(plain["boxes"]) + len(turned["boxes"])
    many = {"flip": True, "scales": (0.75, 1, 1.5), "tile": 48}
    (result,) = model.predict(picture, **many, **options)
    (again,) = model.predict(picture, **many, **options)
    assert set(result.keys()) == set(model.branches)
    # convolutions are packed anew for a shape that comes again, by which last digits change
    np.testing.assert_allclose(result["boxes"].boxes, again["boxes"].boxes, atol=1e-3)
    assert (result["boxes"].boxes <= [50, 96, 50, 96]).all() and (np.diff(result["boxes"].scores) <= 0).all()


def test_a_backbone_of_one_size_flips_only(picture: Path) -> None:
    model = vertebra.create_model("test_resnet", decoder="linear", classes=["a", "b"], image_size=(64, 64)).eval()
    assert model_info(model).fixed == ""
    model.backbone.fixed_size = (64, 64)  # type: ignore[assignment]  # as of a transformer that is built for one size
    with pytest.raises(ConfigError, match=r"'scales' needs .* its backbone is built for 64x64.* 'flip' works"):
        Predictor(model, scales=(1, 1.25))
    (plain,) = model.predict(picture, device="cpu")
    (turned,) = model.predict(np.asarray(Image.open(picture))[:, ::-1], device="cpu")
    (ours,) = model.predict(picture, flip=True, device="cpu")
    mean = (plain["classify"].probabilities + turned["classify"].probabilities) / 2
    np.testing.assert_allclose(ours["classify"].probabilities, mean, atol=2e-3)
