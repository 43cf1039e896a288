"""Splits and folds that are drawn and written as list files, and read again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.table import Category
from vertebra.config import Config
from vertebra.data.check.run import check_data
from vertebra.data.convert import write_data
from vertebra.data.dividing import divide_data
from vertebra.data.open import open_data
from vertebra.data.open_datasets import open_split
from vertebra.data.writers.base import Target
from vertebra.errors import ConfigError, DataError

Make = Callable[..., Path]


@pytest.fixture
def folders(tmp_path: Path, draw_scene: Make) -> Path:
    root = tmp_path / "set"
    for name, count in {"cat": 20, "dog": 10}.items():
        for number in range(count):
            draw_scene(root / name / f"{name}{number}.png", seed=f"{name}{number}")
    return root


def names(file: Path) -> list[str]:
    return file.read_text().splitlines()


def test_lists_have_each_class_in_proportion_and_are_what_a_run_reads(folders: Path, tmp_path: Path) -> None:
    divided = divide_data(folders, tmp_path / "lists", val=0.2, test=0.1, seed=3)
    assert [file.name for file in divided.files] == ["train.txt", "val.txt", "test.txt"]
    assert divided.counts == {
        "train": {"images": 21, "cat": 14, "dog": 7},
        "val": {"images": 6, "cat": 4, "dog": 2},
        "test": {"images": 3, "cat": 2, "dog": 1},
    }
    listed = [name for file in divided.files for name in names(file)]
    assert len(listed) == len(set(listed)) == 30
    raw = {
        "data": {"path": str(folders), "lists": str(tmp_path / "lists")},
        "model": {"backbone": "test_resnet", "decoder": "linear"},
    }
    index = open_split(Config.from_raw(raw), "val").sources[0].index
    assert [index.path(row).relative_to(folders).as_posix() for row in range(len(index))] == names(
        tmp_path / "lists/val.txt"
    )
    again = divide_data(folders, tmp_path / "again", val=0.2, test=0.1, seed=3)
    assert [names(file) for file in again.files] == [names(file) for file in divided.files]


def test_masks_in_files_are_divided_by_the_classes_in_them(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"set/images/{number * 37 % 1000:03d}x.png")
        mask = np.zeros((16, 16), dtype=np.uint8)
        mask[:4] = 1 + number % 4 // 3  # the second class in a quarter
        Image.fromarray(mask).save(tmp_path / f"set/masks/{number * 37 % 1000:03d}x.png")
    (tmp_path / "set/classes.txt").write_text("ground\ncar\nsign\n")
    counts = divide_data(tmp_path / "set", tmp_path / "lists", val=0.2).counts
    assert counts == {
        "train": {"images": 32, "ground": 32, "car": 24, "sign": 8},
        "val": {"images": 8, "ground": 8, "car": 6, "sign": 2},
    }


def test_one_video_of_a_data_set_that_knows_its_groups_is_cut_into_runs(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    builder = AnnotationBuilder(tmp_path / "set", tmp_path / "set")
    builder.category(Category("mouse", points=("nose",)))
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"set/{number:03d}.png")
        row = builder.image(f"{number:03d}.png", size=(16, 16))
        builder.object(row, "mouse", points=np.array([[4.0, 4.0, 2.0]]))
    video = replace(builder.build(), groups=np.zeros(40, dtype=np.int64))
    write_data(video, "tar", Target(tmp_path / "tar"))
    assert [len(open_data(tmp_path / "tar", "keypoints", split)) for split in ("train", "val", "test")] == [32, 4, 4]
    divided = divide_data(tmp_path / "tar", tmp_path / "lists", val=0.2)
    assert [counts["images"] for counts in divided.counts.values()] == [32, 8]
    assert "large groups are cut into runs of consecutive images, since the data set has 1 only" in divided.notes


def test_one_list_of_one_source(folders: Path, tmp_path: Path) -> None:
    divide_data(folders, tmp_path / "lists", val=0.2)
    sources = {
        name: {"path": str(folders), "lists": str(tmp_path / "lists" / f"{name}.txt")} for name in ("train", "val")
    }
    config = Config.from_raw({"data": sources, "model": {"backbone": "test_resnet", "decoder": "linear"}})
    assert [len(open_split(config, split).sources[0].index) for split in ("train", "val")] == [24, 6]


def test_a_list_that_names_other_images_is_an_error(folders: Path, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("cat/cat1.png\nbird/1.png\n")
    with pytest.raises(DataError, match=r"train.txt: 1 of its 2 images are not in .*: bird/1.png"):
        open_data(folders, "classify", "train", lists=tmp_path / "train.txt")
    with pytest.raises(DataError, match="names no image"):
        (tmp_path / "train.txt").write_text("# nothing\n")
        open_data(folders, "classify", "train", lists=tmp_path / "train.txt")
    with pytest.raises(DataError, match=r"val.txt: no such list"):
        open_data(folders, "classify", "val", lists=tmp_path)


def test_absolute_paths_and_comments_in_a_list(folders: Path, tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text(
        f"\ufeff# mine\n{folders}/dog/dog3.png\n\n./cat/cat1.png\ndog/dog3.png\n", encoding="utf-8"
    )
    index = open_data(folders, "classify", "val", lists=tmp_path / "val.txt")
    assert [index.path(row).name for row in range(len(index))] == ["dog3.png", "cat1.png"]


def test_folds_are_each_validation_once(folders: Path, tmp_path: Path) -> None:
    divided = divide_data(folders, tmp_path / "folds", folds=5)
    vals = [names(tmp_path / f"folds/fold_{number}/val.txt") for number in range(5)]
    listed = [name for val in vals for name in val]
    assert len(divided.files) == 10 and len(listed) == len(set(listed)) == 30
    for number, val in enumerate(vals):
        assert not set(val) & set(names(tmp_path / f"folds/fold_{number}/train.txt"))
        assert sum(name.startswith("dog") for name in val) == 2


def test_near_duplicates_stay_together(folders: Path, tmp_path: Path) -> None:
    for number in range(8):
        Image.open(folders / f"cat/cat{number}.png").convert("RGB").save(
            folders / f"cat/copy_of_{number}.jpg", quality=60
        )
    divided = divide_data(folders, tmp_path / "lists", val=0.3)
    assert any("16 images that are nearly the same as another one" in note for note in divided.notes)
    val = set(names(tmp_path / "lists/val.txt"))
    assert all((f"cat/cat{number}.png" in val) == (f"cat/copy_of_{number}.jpg" in val) for number in range(8))


def test_groups_by_folder_and_by_expression(folders: Path, tmp_path: Path, draw_scene: Make) -> None:
    root = tmp_path / "visits"
    for number in range(40):
        draw_scene(root / ("ill" if number % 2 else "sound") / f"p{number // 4}_{number}.png", seed=f"p{number}")
    divided = divide_data(root, tmp_path / "lists", val=0.2, group_by=r"/(p\d+)_")
    val, train = (
        {name.rpartition("/")[2].partition("_")[0] for name in names(tmp_path / f"lists/{split}.txt")}
        for split in ("val", "train")
    )
    assert len(val) == 2 and not val & train and any("by '/(p" in note for note in divided.notes)
    with pytest.raises(ConfigError, match="group-by"):
        divide_data(root, tmp_path / "other", group_by="nothing")


def test_groups_by_an_attribute_of_the_objects(coco: Make, tmp_path: Path) -> None:
    rows = [
        {"image_id": 10 + n, "category_id": 7, "bbox": [1, 1, 9, 9], "attributes": {"patient": f"p{n % 8}"}}
        for n in range(40)
    ]
    path = coco(rows, images=40, categories=[(7, "dog")])
    divide_data(path, tmp_path / "lists", val=0.25, group_by="patient")
    val, train = (
        {int(Path(name).stem) % 8 for name in names(tmp_path / f"lists/{split}.txt")} for split in ("val", "train")
    )
    assert len(val) == 2 and not val & train
    report = check_data(path, "detect", group_by="patient")
    assert any(finding.kind == "split_groups" for finding in report.every)


@pytest.mark.parametrize("points", [False, True])
def test_groups_by_a_column_of_a_table_of_images(points: bool, tmp_path: Path, draw_scene: Make) -> None:
    head = "image,nose_x,nose_y,Patient ID" if points else "image,label,Patient ID"
    rows = [f"{n}.png,{'5,6' if points else 'ab'[n % 2]},P{n // 3}" for n in range(24)]
    for number in range(24):
        draw_scene(tmp_path / "set" / "images" / f"{number}.png", seed=f"{number}")
    (tmp_path / "set" / "labels.csv").write_text("\n".join([head, *rows]))
    divided = divide_data(tmp_path / "set", tmp_path / "lists", val=0.25, group_by="Patient ID")
    assert "by column 'Patient ID': 8 groups of 24 images" in divided.notes
    val = {int(Path(line).stem) // 3 for line in (tmp_path / "lists" / "val.txt").read_text().split()}
    assert len(val) == 2 and divided.counts["val"]["images"] == 6
    (finding,) = [
        one for one in check_data(tmp_path / "set", group_by="patient_id").every if one.kind == "split_groups"
    ]
    assert finding.severity == "warning" and finding.count


def test_a_given_test_split_stays(tmp_path: Path, draw_scene: Make) -> None:
    root = tmp_path / "set"
    for folder, count in {"train/cat": 10, "train/dog": 10, "test/cat": 3, "test/dog": 3}.items():
        for number in range(count):
            draw_scene(root / folder / f"{number}.png", seed=f"{folder}{number}")
    divided = divide_data(root, tmp_path / "lists", val=0.2)
    assert all(name.startswith("test/") for name in names(tmp_path / "lists/test.txt"))
    assert divided.counts["test"]["images"] == 6 and any("stays what it is" in note for note in divided.notes)


def test_boxes_of_all_classes_are_in_proportion(coco: Make, tmp_path: Path) -> None:
    rows = [{"image_id": 10 + n, "category_id": 7 if n % 4 else 3, "bbox": [1, 1, 9, 9]} for n in range(40)]
    path = coco(rows, images=40)
    draw = np.random.default_rng(0)
    for number in range(40):  # the fixture's images are of one color, which are not compared
        Image.fromarray(draw.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(tmp_path / "images" / f"{number}.png")
    divided = divide_data(path, tmp_path / "lists", val=0.25)
    assert {name: (counts["dog"], counts["cat"]) for name, counts in divided.counts.items()} in (
        {"train": (22, 8), "val": (8, 2)},
        {"train": (23, 7), "val": (7, 3)},
        {"train": (22, 7), "val": (8, 3)},
    )


@pytest.mark.parametrize(("options", "message"), [
    ({"val": 1.5}, "not a share"), ({"val": 0.0}, "nothing to measure"), ({"val": 0.6, "test": 0.5}, "nothing for train"),
    ({"folds": 1}, "folds"),
])  # fmt: skip
def test_wrong_shares(options: dict[str, float], message: str, folders: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        divide_data(folders, tmp_path / "lists", **options)  # type: ignore[arg-type]


def test_lists_are_not_overwritten(folders: Path, tmp_path: Path) -> None:
    divide_data(folders, tmp_path / "lists")
    with pytest.raises(ConfigError, match="already"):
        divide_data(folders, tmp_path / "lists")
