"""The demo: scenes with a whole truth, and a run that ends with a page and metrics."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vertebra.demo.animals import ANIMALS
from vertebra.demo.files import SceneCounts, write_scenes
from vertebra.demo.run import SHOWN, run_demo
from vertebra.demo.scenes import COLORS, SceneStyle, color_name, draw_scene


def test_a_seed_draws_the_same_scene() -> None:
    one, two, other = draw_scene(3), draw_scene(3), draw_scene(4)
    np.testing.assert_array_equal(one.image, two.image)
    assert not np.array_equal(one.image, other.image)


def test_colors_have_names() -> None:
    named = {(200, 40, 40): "red", (40, 40, 200): "blue", (200, 40, 60): "red", (120, 120, 120): "", (200, 120, 40): ""}
    assert {rgb: color_name(np.array(rgb)) for rgb in named} == named


@pytest.mark.parametrize("seed", range(8))
def test_boxes_classes_and_mask_tell_the_same(seed: int) -> None:
    scene = draw_scene([seed, 5], seed % len(ANIMALS))
    assert scene.main == ANIMALS[seed % len(ANIMALS)]
    assert scene.image.shape == (96, 128, 3) and scene.mask.shape == (96, 128)
    assert set(np.unique(scene.mask)) - {0} == {int(label) + 1 for label in scene.labels}
    sizes = (scene.boxes[:, 2:] - scene.boxes[:, :2]).prod(axis=1)
    assert scene.labels[int(sizes.argmax())] == ANIMALS.index(scene.main), "the main animal is the largest"
    assert len(scene.colors) == len(scene.boxes) and set(scene.colors) <= {*COLORS, ""}
    covered = np.zeros_like(scene.mask, dtype=bool)
    for left, top, right, bottom in scene.boxes.astype(int):
        covered[top:bottom, left:right] = True
    assert covered[scene.mask > 0].all(), "no animal sticks out of its box"


def test_the_color_does_not_tell_the_class() -> None:
    """Mean colors of the classes differ by no more than chance lets them."""
    means = {animal: [] for animal in range(len(ANIMALS))}
    for number in range(120):
        scene = draw_scene([9, number], number % len(ANIMALS))
        means[number % len(ANIMALS)].append(scene.image[scene.mask == number % len(ANIMALS) + 1].mean(axis=0))
    centers = np.array([np.mean(values, axis=0) for values in means.values()])
    spread = np.std(np.concatenate(list(means.values())), axis=0)
    assert (np.ptp(centers, axis=0) < 1.2 * spread).all()


def test_each_training_scene_is_labeled_for_one_task_only(scenes: Path) -> None:
    def stems(pattern: str) -> set[str]:
        return {path.stem for path in scenes.glob(pattern)}

    classes = stems("animals/train/*/*.png")
    boxes = {stem for stem in stems("boxes/JPEGImages/*.png") if stem.startswith("boxes")}
    masks = stems("regions/images/train/*.png")
    assert (len(classes), len(boxes), len(masks)) == (12, 12, 12)
    assert not classes & boxes and not boxes & masks and not classes & masks
    assert stems("animals/test/*/*.png") == stems("regions/images/test/*.png")


def test_the_demo_ends_with_a_page_and_metrics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = SceneCounts(classes=8, boxes=0, objects=8, masks=8, val=3, test=4)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "notes.txt").touch()
    first = run_demo(tmp_path / "demo", counts=counts, epochs=1, pictures=2)
    shown = capsys.readouterr().out
    metrics = json.loads((first / "metrics.json").read_text())
    assert set(metrics) == {*SHOWN, "seconds"} and all(0 <= metrics[name] <= 1 for name in SHOWN)
    assert all(name in shown for name in SHOWN)
    page = (first / "index.html").read_text()
    assert page.count("<figure>") == 8 and "<svg" in page and "times as fast" in page
    assert len(list((first / "pictures").iterdir())) == 8
    assert first == tmp_path / "demo-2" and [file.name for file in (tmp_path / "demo").iterdir()] == ["notes.txt"]


def test_scenes_may_be_of_another_style(tmp_path: Path) -> None:
    write_scenes(tmp_path, SceneCounts(1, 1, 1, 1, 1), style=SceneStyle(size=(40, 50), max_others=0))
    from PIL import Image

    (image,) = (tmp_path / "regions" / "masks" / "test").glob("*.png")
    with Image.open(image) as opened:
        assert opened.size == (50, 40)
