"""Large images in tiles: what a model says of the parts becomes what is true of the whole."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vertebra
from tests.inference.painted import Painted, paint
from vertebra.errors import ConfigError
from vertebra.inference.predictor import Predictor

RECTANGLES = [
    (10, 12, 40, 30, 0),  # within one tile
    (86, 20, 95, 30, 1),  # whole in two tiles
    (60, 40, 150, 62, 0),  # cut by a vertical seam
    (20, 70, 44, 130, 1),  # cut by a horizontal seam
    (120, 75, 176, 121, 0),  # cut by both
    (170, 5, 187, 25, 1),
]
SIZE = (151, 187)  # nothing divides these


def as_sets(result: vertebra.inference.results.Result) -> set[tuple[float, ...]]:
    boxes = result["boxes"]
    return {(*box, label) for box, label in zip(boxes.boxes.tolist(), boxes.class_ids.tolist(), strict=True)}


@pytest.mark.parametrize("batch_size", [1, 3, 16])
@pytest.mark.parametrize("overlap", [0.2, 0.5])
def test_tiled_is_the_truth(batch_size: int, overlap: float) -> None:
    image = paint(SIZE, RECTANGLES)
    model = Painted((100, 100), tile=100, overlap=overlap, batch_size=batch_size)
    (result,) = model.predict(image)
    assert as_sets(result) == set(map(tuple, np.array(RECTANGLES, dtype=float).tolist()))
    np.testing.assert_array_equal(result["paint"].mask, image[..., 0] // 100)
    np.testing.assert_array_equal(result["layers"].mask, np.arange(1, 3)[:, None, None] == image[..., 0] // 100)
    corners = result["corners"]
    left, top, right, bottom = corners.boxes.T
    expected = np.stack([left, top, right, top, (left + right) / 2, bottom], axis=1).reshape(-1, 3, 2)
    np.testing.assert_array_equal(
        corners.points[:, :2], expected[:, :2], "the corners are known by the tile that sees them"
    )
    assert (
        len(corners) == len(RECTANGLES) and (corners.point_scores[:-1, :2] == 1).all()
    )  # the last one touches the image's edge
    assert result.size == SIZE and (np.diff(corners.scores) <= 0).all()


def test_nothing_is_missed_among_many() -> None:
    draw = np.random.default_rng(0)
    for _ in range(12):
        size = (int(draw.integers(101, 260)), int(draw.integers(101, 260)))
        taken, rectangles = np.zeros(size, dtype=bool), []
        while len(rectangles) < 10:
            (height, width), (top, left) = draw.integers(4, 90, 2), draw.integers(0, size)
            place = taken[top : top + height, left : left + width]
            if place.shape == (height, width) and not place.any():
                place[:] = True
                rectangles.append((left, top, left + width, top + height, len(rectangles) % 2))
        image = paint(size, rectangles)
        (result,) = Painted((100, 100), ["boxes", "paint"], tile=100, overlap=draw.uniform(0.1, 0.6)).predict(image)
        assert as_sets(result) >= set(map(tuple, np.array(rectangles, dtype=float).tolist()))
        np.testing.assert_array_equal(result["paint"].mask, image[..., 0] // 100)


def test_untiled_is_the_same_where_the_canvas_is_large() -> None:
    image = paint(SIZE, RECTANGLES)
    (tiled,) = Painted((100, 100), tile=100).predict(image)
    (whole,) = Painted(SIZE).predict(image)
    assert as_sets(tiled) == as_sets(whole)
    np.testing.assert_array_equal(tiled["paint"].mask, whole["paint"].mask)
    np.testing.assert_allclose(tiled["boxes"].scores, whole["boxes"].scores)


def test_a_class_is_that_of_the_whole_image() -> None:
    image = paint((200, 200), [(0, 0, 100, 200, 0)])
    (result,) = Painted((100, 100), tile=100, overlap=0.1).predict(image)
    assert result["bright"].probabilities[1] == pytest.approx(0.5, abs=0.02), "each tile alone would say 0 or 1"


def test_an_image_smaller_than_a_tile_and_others_among_them() -> None:
    images = [
        paint((40, 60), [(5, 5, 20, 20, 1)]),
        paint(SIZE, RECTANGLES),
        paint((100, 100), [(0, 0, 100, 50, 0)]),
        paint((30, 180), [(50, 2, 130, 20, 1)]),
    ]
    model = Painted((100, 100), tile=100, batch_size=4, threshold=0.1)
    results = model.predict(images)
    assert [result.size for result in results] == [image.shape[:2] for image in images]
    assert [as_sets(result) for result in results] == [
        as_sets(Painted((100, 100), tile=100).predict(image)[0]) for image in images
    ]
    assert as_sets(results[3]) == {(50, 2, 130, 20, 1)}
    assert sum(model.batches) == 1 + 7 + 1 + 3, "tiles of several images share batches"
    assert set(model.batches[:-1]) == {4}
    (untiled,) = Painted((100, 100)).predict(images[0])
    assert as_sets(results[0]) == as_sets(untiled)


def test_an_object_larger_than_a_tile_comes_from_the_whole_image() -> None:
    image = paint((300, 300), [(20, 30, 280, 290, 1), (5, 5, 14, 14, 0)])
    (result,) = Painted((100, 100), tile=100).predict(image)
    small, large = sorted(result["boxes"].boxes.tolist())
    assert small == [5, 5, 14, 14]
    np.testing.assert_allclose(large, [20, 30, 280, 290], atol=6)  # two pixels of the canvas


def test_no_whole_image_where_only_pixels_are_asked() -> None:
    model = Painted((100, 100), ["paint"], tile=100)
    model.predict(paint(SIZE, RECTANGLES))
    assert sum(model.batches) == 6


def test_masks_change_smoothly_from_tile_to_tile() -> None:
    """Two tiles that disagree: the class changes once, in the middle of the overlap."""

    class Halves(Painted):
        def run(self, canvases: np.ndarray, sizes: np.ndarray) -> dict[str, list[np.ndarray]]:
            maps = np.zeros((len(canvases), 3, 100, 100), dtype=np.float32)
            for own, canvas in zip(maps, canvases, strict=True):
                own[1 if canvas[0, 0, 0] else 2] = 1
            return {"paint": [maps]}

    image = paint((100, 180), [(0, 0, 10, 100, 0)])
    (result,) = Halves((100, 100), ["paint"], tile=100).predict(image)
    mask = result["paint"].mask
    assert (mask[:, :90] == 1).all() and (mask[:, 90:] == 2).all()


def test_memory_is_that_of_a_row_of_tiles() -> None:
    def peak(height: int) -> int:
        image = np.zeros((height, 128, 3), dtype=np.uint8)
        model = Painted((64, 64), ["paint"], tile=64, batch_size=2)
        tracemalloc.start()
        list(model.stream([image]))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most - height * 128  # the mask

    assert peak(4096) < 1.2 * peak(512) + 200_000


def test_what_cannot_be_tiled() -> None:
    with pytest.raises(ConfigError, match="predicts for the image as a whole"):
        Painted((100, 100), ["bright"], tile=100)
    with pytest.raises(ConfigError, match="'overlap' must be above 0"):
        Painted((100, 100), tile=100, overlap=0)


def test_a_model_of_four_branches(tmp_path: Path) -> None:
    model = vertebra.create_model(
        "test_resnet",
        branches={
            "kind": {"decoder": "linear", "classes": ["dog", "cat"]},
            "boxes": {"neck": "fpn", "decoder": "retinanet", "classes": ["dog", "cat"]},
            "limbs": {
                "decoder": "heatmap",
                "boxes_from": "boxes",
                "classes": ["dog", "cat"],
                "points": ["nose", "tail"],
            },
            "pose": {"decoder": "heatmap", "classes": ["dog"], "points": ["nose", "tail"]},
            "regions": {"decoder": "upsample", "classes": ["a", "b", "c"]},
        },
        image_size=(64, 64),
        resize="letterbox",
    ).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (75, 141, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    options = {"threshold": 0.0, "device": "cpu"}
    (whole,) = Predictor(model, **options).predict(tmp_path / "a.png")
    (tiled,) = Predictor(model, tile=64, overlap=0.25, batch_size=3, **options).predict(tmp_path / "a.png")
    assert tiled.keys() == whole.keys() and tiled.path == whole.path and tiled.size == (75, 141)
    np.testing.assert_allclose(tiled["kind"].probabilities, whole["kind"].probabilities, atol=1e-6)
    np.testing.assert_allclose(tiled["pose"].points, whole["pose"].points, atol=1e-4)
    assert tiled["regions"].mask.shape == (75, 141)
    assert len(tiled["limbs"]) > 0 and len(tiled["boxes"]) > len(whole["boxes"])
    for boxes in (tiled["boxes"].boxes, tiled["limbs"].boxes):
        assert (boxes >= 0).all() and (boxes <= [141, 75, 141, 75]).all() and (boxes[:, 2:] > boxes[:, :2]).all()
    (small,) = Predictor(model, tile=200, **options).predict(tmp_path / "a.png")
    np.testing.assert_array_equal(small["boxes"].boxes, whole["boxes"].boxes)
