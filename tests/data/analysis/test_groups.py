"""Groups of images by rule, and guessed from names and hashes."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from vertebra.data.analysis.groups import group_by, guess_groups, merge_groups
from vertebra.data.analysis.perceptual_hash import perceptual_hashes, thumbnail
from vertebra.data.analysis.small_images import read_small
from vertebra.errors import ConfigError, DataError


def drifting(count: int, seed: int, flips: int = 2) -> np.ndarray:
    """Hashes of a video: a few bits change from each frame to the next."""
    rng = np.random.default_rng(seed)
    changes = np.bitwise_xor.reduce(np.uint64(1) << rng.integers(0, 64, (count, flips), dtype=np.uint64), axis=1)
    return np.bitwise_xor.accumulate(changes) ^ rng.integers(0, 2**64, dtype=np.uint64)


def independent(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def test_by_folder() -> None:
    grouping = group_by(["a/1.jpg", "b/1.jpg", "a/2.jpg", "3.jpg"], "FOLDER")
    assert grouping.codes.tolist() == [0, 1, 0, 2]
    assert grouping.rules == ("by folder: 3 groups of 4 images",)


def test_by_column() -> None:
    columns = {"patient": np.array(["x", "y", "x", None, float("nan")], dtype=object)}
    grouping = group_by(list("abcde"), "patient", columns)
    assert grouping.codes.tolist() == [0, 1, 0, 2, 3]
    assert grouping.rules == (
        "by column 'patient': 2 groups of 3 images; 2 images without a value are groups of their own",
    )


def test_by_expression() -> None:
    paths = ["s1/p7_1.png", "s2/p7_2.png", "s2/p8_1.png", "other.png"]
    grouping = group_by(paths, r"(p\d+)_\d")
    assert grouping.codes.tolist() == [0, 0, 1, 2]
    assert grouping.rules == (
        r"by '(p\d+)_\d': 2 groups of 3 images; 1 image without a match are groups of their own".replace(
            "1 image", "1 images"
        ),
    )


@pytest.mark.parametrize(
    ("rule", "error", "message"),
    [
        (
            "patient",
            ConfigError,
            r"'patient' is none of FOLDER, a column \(site\), or a regular expression with a group",
        ),
        ("(", ConfigError, r"'\(' is no valid regular expression .*; give FOLDER, a column \(site\) or an expression"),
        ("(zz+)", DataError, r"no path matches '\(zz\+\)'; the first is a/1.jpg"),
    ],
)
def test_wrong_rules_are_named(rule: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        group_by(["a/1.jpg"], rule, {"site": ["x"]})


def test_copies_and_crops() -> None:
    paths = [
        "train/images/img_0012_crop3.png", "valid/images/img_0012_crop4.png", "train/images/img_0012.png",
        "train/images/name_aug2.png", "train/images/name.png", "train/images/name_flip_aug_1.png",
        "train/images/dog-1_jpg.rf.0123456789abcdef0123456789abcdef.jpg",
        "test/images/dog-1_jpg.rf.fedcba9876543210fedcba9876543210.jpg",
        "train/images/dog-2_jpg.rf.fedcba9876543210fedcba9876543211.jpg",
    ]  # fmt: skip
    grouping = guess_groups(paths)
    assert grouping.codes.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 3]
    assert grouping.rules == (
        "copies and crops of one image, by their names: 3 groups of 8 images (img_0012, name, dog-1)",
    )


@pytest.mark.parametrize(
    "paths",
    [
        [f"image_crop_{number}.png" for number in range(30)],
        [f"cat ({number}).jpg" for number in range(30)],
        [f"train/{animal}/{number}_aug.png" for number in range(9) for animal in ("cat", "dog")],
        [f"IMG_{number:04}.jpg" for number in range(30)],
        ["crop.png", "flip.png", "copy.png", "_crop1.png", "_crop2.png", ".jpg", "", "a/"],
    ],
    ids=["nothing before crop", "renamed by Windows", "each augmented once", "numbered photographs", "only a word"],
)
def test_no_groups_by_these_names(paths: list[str]) -> None:
    grouping = guess_groups(paths)
    assert grouping.codes.tolist() == list(range(len(paths))) and grouping.rules == ()


def test_frames_are_known_by_their_hashes() -> None:
    paths = [f"clip{video}_{frame:06}.png" for video in range(3) for frame in range(0, 400, 10)]
    paths = [f"{('train', 'val')[row % 2]}/{path}" for row, path in enumerate(paths)]
    hashes = np.concatenate([drifting(40, video) for video in range(3)])
    order = np.random.default_rng(0).permutation(120)
    grouping = guess_groups([paths[row] for row in order], hashes[order])
    assert np.array_equal(grouping.codes, merge_groups(120, order // 40)) and not grouping.cut.any()
    assert len(grouping.rules) == 1 and grouping.rules[0].startswith(
        "frames of a video, by numbered names of which neighbors are alike: 3 groups of 120 images (clip"
    )


def test_numbers_alone_are_no_reason() -> None:
    paths = [f"IMG_{number:04}.jpg" for number in range(200)]
    for seed in range(20):
        assert guess_groups(paths, independent(200, seed)).rules == ()
    bursts = independent(200, 1)
    bursts[10:20] = bursts[10]
    assert guess_groups(paths, bursts).rules == (), "a burst is found as near-duplicates, the others stay alone"


def test_flat_frames_do_not_count() -> None:
    paths = [f"IMG_{number:04}.jpg" for number in range(40)]
    hashes = independent(40, 0)
    hashes[:30] = 0
    valid = np.arange(40) >= 30
    assert guess_groups(paths, hashes, valid).rules == ()
    assert guess_groups(paths, hashes).rules != ()
    assert guess_groups(paths, hashes, np.zeros(40, dtype=bool)).rules == ()


def test_without_hashes_a_word_decides() -> None:
    paths = [f"video1/{frame:06}.jpg" for frame in range(9)] + [f"holiday/{number}.jpg" for number in range(20)]
    grouping = guess_groups(paths)
    assert grouping.codes.tolist() == [0] * 9 + list(range(1, 21))
    assert grouping.rules == (
        "frames of a video, by a word in their names (images not compared): 1 group of 9 images (video1/*)",
    )


def test_a_video_that_is_the_whole_set_is_cut_into_runs() -> None:
    grouping = guess_groups([f"img{number:04}.png" for number in range(100)], drifting(100, 0))
    assert grouping.codes.tolist() == [number // 5 for number in range(100)] and grouping.cut.all()
    assert grouping.rules[1] == "'img*' is 100% of the images: cut into 20 runs of consecutive frames"


@pytest.mark.parametrize(
    ("folder", "pattern", "groups"),
    [
        ("segmentation/camvid", "*/*.png", 4),
        ("keypoints/openfield_mouse", "labeled-data/*/*.png", 20),
        ("detection/bccd", "JPEGImages/*.jpg", None),
        ("classification/cats_dogs_subset", "*/*/*.jpg", None),
        ("detection/coco_mini_yolo/images", "*/*.jpg", None),
    ],
)
def test_real_sets(assets: Path, folder: str, pattern: str, groups: int | None) -> None:
    files = [file for file in sorted((assets / folder).glob(pattern)) if "annot" not in file.parent.name]
    if not files:
        pytest.skip(f"no {folder}")
    hashes, valid = perceptual_hashes(np.stack([thumbnail(read_small(file)) for file in files]))
    grouping = guess_groups([file.relative_to(assets / folder).as_posix() for file in files], hashes, valid)
    assert grouping.codes.max() + 1 == (groups or len(files)), grouping.rules


def test_merging() -> None:
    assert merge_groups(5, np.array([0, 1, 0, 2, 3]), np.array([9, 8, 7, 6, 8])).tolist() == [0, 1, 0, 2, 1]
    assert merge_groups(3).tolist() == [0, 1, 2] and merge_groups(0).tolist() == []


def test_no_images() -> None:
    for grouping in (guess_groups([]), guess_groups([], independent(0, 0)), group_by([], "(a)")):
        assert len(grouping.codes) == len(grouping.cut) == 0


def test_long_names_take_no_time() -> None:
    names = ["1" * 250 + "x", "a_crop" + "_1" * 120 + "!", "_" * 250 + "1crop", "crop1" * 50]
    start = time.process_time()
    guess_groups([f"{name}.png" for name in names for _ in range(20)])
    assert time.process_time() - start < 2
