"""Batch size, epochs and evaluations by the number of images."""

from __future__ import annotations

import math

import pytest

from vertebra.recipe.choices import (
    Choice,
    DataFacts,
    choose_epochs,
    choose_evaluations,
    choose_frozen_share,
    step_images,
    steps_needed,
)


@pytest.mark.parametrize(
    ("facts", "size"),
    [
        (DataFacts(22), 4),
        (DataFacts(3), 3),
        (DataFacts(399), 4),
        (DataFacts(400), 8),
        (DataFacts(2_000), 16),
        (DataFacts(20_000), 16),
        (DataFacts(22, image_level=True), 8),
        (DataFacts(5_000, image_level=True), 32),
        (DataFacts(5, image_level=True), 5),
        (DataFacts(300, branches=3, partly_labeled=True), 6),
        (DataFacts(300, branches=3), 4),
        (DataFacts(20_000, processes=4), 4),
        (DataFacts(300, processes=8), 2),
        (DataFacts(3, processes=2), 1),
        (DataFacts(1, processes=2), 1),
        (DataFacts(600, branches=2, partly_labeled=True, processes=2), 4),
    ],
)
def test_the_images_of_a_step(facts: DataFacts, size: int) -> None:
    assert step_images(facts)[0] == size


@pytest.mark.parametrize(
    ("images", "steps_per_epoch", "recipe", "epochs"),
    [
        (22, 6, "default", 71),
        (22, 6, "fast", 24),
        (22, 6, "best", 211),
        (1, 1, "default", 300),
        (205, 52, "default", 25),
        (2_000, 125, "default", 33),
        (20_000, 1_250, "default", 11),
        (118_000, 7_375, "default", 6),
        (118_000, 7_375, "fast", 2),
        (22, 1, "best", 900),
    ],
)
def test_epochs_follow_from_steps(images: int, steps_per_epoch: int, recipe: str, epochs: int) -> None:
    assert choose_epochs(images, steps_per_epoch, recipe)[0] == epochs


def test_the_reason_names_the_numbers() -> None:
    assert steps_needed(22) == 422 and steps_needed(205) == 1289 and steps_needed(205, factor=0.4) == 515
    assert str(Choice("epochs", *choose_epochs(205, 52))) == (
        "epochs 25: about 1289 steps are needed for 205 images, and an epoch has 52"
    )
    assert choose_epochs(19_000, 1_250)[1].endswith("and an epoch has 1250")
    assert choose_epochs(1, 1)[1].endswith("an epoch has 1; at most 300 epochs")
    assert str(Choice("image_size", [96, 128], "why")) == "image_size 96x128: why"
    assert step_images(DataFacts(300, processes=8))[1] == (
        "300 training images, 2 or more a process; 16 a step over 8 processes"
    )


@pytest.mark.parametrize(
    ("epochs", "images", "val_images", "every"),
    [(17, 205, 50, 1), (300, 22, 5, 5), (67, 22, 5, 2), (30, 100, 1_000, 3), (9, 100, 1_000, 1), (200, 100, 100, 4)],
)
def test_evaluations_take_little_time(epochs: int, images: int, val_images: int, every: int) -> None:
    assert choose_evaluations(epochs, images, val_images)[0] == every


def test_every_size_of_data_has_a_recipe() -> None:
    for images in (1, 2, 3, 5, 10, 50, 399, 401, 1_999, 5_000, 20_000, 1_000_000):
        size, _ = step_images(DataFacts(images))
        steps = math.ceil(images / size)
        epochs, _ = choose_epochs(images, steps)
        assert 1 <= size <= images and 6 <= epochs <= 300
        assert epochs * steps >= min(steps_needed(images), 300 * steps)


def test_a_backbone_is_frozen_longer_for_whole_images() -> None:
    assert 0 < choose_frozen_share(image_level=False)[0] < choose_frozen_share(image_level=True)[0] < 1
