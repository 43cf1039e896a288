"""Each kind of finding of a check, on data sets that have it, and none on a sound one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from vertebra.data.check.report import DataReport, Finding
from vertebra.data.check.run import check_data

Make = Callable[..., Path]


def found(report: DataReport, kind: str) -> Finding:
    """The one finding of a kind."""
    (finding,) = [one for one in report.every if one.kind == kind]
    return finding


def kinds(report: DataReport) -> set[str]:
    return {finding.kind for finding in report.every}


def write_coco(
    root: Path,
    draw: Make,
    boxes: dict[str, Sequence[Sequence[float]]],
    *,
    categories: Sequence[str] = ("dog", "cat"),
    size: tuple[int, int] = (96, 128),
    said: tuple[int, int] | None = None,
) -> Path:
    """A COCO folder with one file a split and these boxes, x, y, width, height, in each image of a split, which has twelve."""
    height, width = said or size
    for split, given in boxes.items():
        entries = [{"id": i, "file_name": f"{split}{i}.png", "height": height, "width": width} for i in range(12)]
        annotations = []
        for entry in entries:
            draw(root / str(entry["file_name"]), *size)
            for number, box in enumerate(given):
                category = (int(str(entry["id"])) + number) % len(categories) + 1
                annotations.append(
                    {
                        "id": len(annotations),
                        "image_id": entry["id"],
                        "category_id": category,
                        "bbox": list(box),
                        "iscrowd": 0,
                    }
                )
        content = {
            "images": entries,
            "annotations": annotations,
            "categories": [{"id": n + 1, "name": name} for n, name in enumerate(categories)],
        }
        (root / f"{split}.json").write_text(json.dumps(content))
    return root


def write_folders(root: Path, draw: Make, counts: dict[str, int], suffix: str = "png") -> Path:
    """Class folders of images that differ."""
    for folder, count in counts.items():
        for number in range(count):
            draw(root / folder / f"{number}.{suffix}", seed=f"{folder}{number}")
    return root


SOUND = {"train/cat": 12, "train/dog": 12, "val/cat": 10, "val/dog": 10}
GOOD = [(10, 12, 30, 40), (60, 20, 40, 50)]


def test_a_sound_set_of_boxes_has_no_finding(tmp_path: Path, draw_scene: Make) -> None:
    report = check_data(write_coco(tmp_path, draw_scene, {"train": GOOD, "val": GOOD}))
    assert report.tasks == ("detect",) and not report.every and report.text().endswith("no problems")


def test_near_duplicates_across_and_within_splits(tmp_path: Path, draw_scene: Make) -> None:
    root = write_folders(tmp_path, draw_scene, SOUND)
    Image.open(root / "train/cat/3.png").convert("RGB").resize((120, 90)).save(root / "val/dog/near.jpg", quality=70)
    Image.open(root / "train/cat/4.png").convert("RGB").save(root / "train/cat/again.jpg", quality=60)
    report = check_data(root)
    leak = found(report, "near_leak")
    assert leak.severity == "warning" and set(leak.files) == {"train/cat/3.png", "val/dog/near.jpg"}
    assert "train 3.png = val near.jpg" in leak.message and "data split" in leak.cure
    within = found(report, "near_duplicates")
    assert within.severity == "info" and set(within.files) == {"train/cat/4.png", "train/cat/again.jpg"}


def test_identical_images(tmp_path: Path, draw_scene: Make) -> None:
    root = write_folders(tmp_path, draw_scene, SOUND)
    shutil.copy(root / "train/cat/0.png", root / "val/cat/same.png")
    shutil.copy(root / "train/cat/1.png", root / "train/dog/same.png")
    report = check_data(root)
    assert set(found(report, "leak").files) == {"train/cat/0.png", "val/cat/same.png"}
    assert "train/cat/1.png" in found(report, "copies").files
    conflict = found(report, "conflicting_labels")
    assert set(conflict.files) == {"train/cat/1.png", "train/dog/same.png"} and "near_leak" not in kinds(report)


def test_groups_split_apart_by_name_and_by_rule(tmp_path: Path, draw_scene: Make) -> None:
    root = write_folders(tmp_path, draw_scene, SOUND)
    draw_scene(root / "train/cat/shop7.png", seed="a")
    draw_scene(root / "val/cat/shop7_crop2.png", seed="b")
    group = found(check_data(root), "split_groups")
    assert "train shop7.png ~ val shop7_crop2.png" in group.message
    ruled = found(check_data(root, group_by=r"/(\w+)/\d+\.png"), "split_groups")
    assert ruled.count == 2 and "by '/(" in ruled.message


@pytest.mark.parametrize(
    ("boxes", "named"), [([(20, 30, 90, 80), (60, 20, 120, 90)], "pixel xyxy"), ([(0.2, 0.3, 0.2, 0.3)], "shares")]
)
def test_boxes_in_another_convention(boxes: Any, named: str, tmp_path: Path, draw_scene: Make) -> None:
    report = check_data(write_coco(tmp_path, draw_scene, {"train": boxes, "val": boxes}))
    errors = [finding for finding in report.every if finding.severity == "error"]
    assert not report.sound and any(named in finding.message for finding in errors)


def test_boxes_that_are_twins_tiny_or_without_area(tmp_path: Path, draw_scene: Make) -> None:
    root = write_coco(tmp_path, draw_scene, {"train": GOOD, "val": GOOD})
    content = json.loads((root / "train.json").read_text())
    extra = [(10.2, 12.1, 30, 40, 1), (50, 50, 1, 20, 2), (5, 5, 0, 10, 2)]
    content["annotations"] += [
        {"id": 900 + n, "image_id": 0, "category_id": category, "bbox": box, "iscrowd": 0}
        for n, (*box, category) in enumerate(extra)
    ]
    (root / "train.json").write_text(json.dumps(content))
    report = check_data(root)
    assert found(report, "twins").files == ("train0.png",) and found(report, "twins").count == 1
    assert found(report, "tiny_boxes").files == ("train0.png",)
    assert "1 box of zero area was dropped: train0.png" in found(report, "note").message


def test_outlines_of_one_box_that_differ_are_no_twins(tmp_path: Path, draw_scene: Make) -> None:
    root = write_coco(tmp_path, draw_scene, {"train": GOOD, "val": GOOD})
    content = json.loads((root / "train.json").read_text())
    corners = [[10, 12, 40, 12, 10, 52], [40, 12, 40, 52, 10, 52], [10, 12, 40, 12.2, 10, 52]]
    for number, outline in enumerate(corners):
        box = {"image_id": 0, "category_id": 1, "bbox": [10, 12, 30, 40], "iscrowd": 0, "segmentation": [outline]}
        content["annotations"].append({"id": 900 + number, **box})
    content["annotations"] = [one for one in content["annotations"] if one["id"] >= 900 or one["image_id"]]
    (root / "train.json").write_text(json.dumps(content))
    assert found(check_data(root, "detect"), "twins").count == 1


def test_annotations_for_another_size(tmp_path: Path, draw_scene: Make) -> None:
    root = write_coco(tmp_path, draw_scene, {"train": GOOD, "val": GOOD}, size=(48, 64), said=(96, 128))
    scaled = [finding for finding in check_data(root).every if finding.kind == "size"]
    assert (
        {finding.split for finding in scaled} == {"train", "val"}
        and scaled[0].count == 12
        and "scaled" in scaled[0].message
    )
    other = write_coco(tmp_path / "other", draw_scene, {"train": GOOD, "val": GOOD}, size=(48, 100), said=(96, 128))
    report = check_data(other)
    assert not report.sound and "annotated for 96x128, but the image is 48x100" in found_first(report, "labels").message


def found_first(report: DataReport, kind: str) -> Finding:
    return next(finding for finding in report.every if finding.kind == kind)


def test_classes_with_few_samples_similar_names_and_imbalance(tmp_path: Path, draw_scene: Make) -> None:
    counts = {
        "train/Traffic light": 40,
        "train/traffic_light": 2,
        "train/cat": 15,
        "val/Traffic light": 10,
        "val/cat": 10,
        "val/traffic_light": 0,
    }
    report = check_data(write_folders(tmp_path, draw_scene, counts))
    assert found(report, "few_samples").files == ("traffic_light",)
    similar = found(report, "similar_names")
    assert set(similar.files) == {"Traffic light", "traffic_light"} and "--merge-classes" in similar.cure
    imbalance = found(report, "imbalance")
    assert "40 images" in imbalance.message and "right for 70% of them" in imbalance.message
    assert found(report, "not_in_val").files == ("traffic_light",)


def test_ids_with_gaps_and_images_without_objects(tmp_path: Path, draw_scene: Make) -> None:
    root = write_coco(tmp_path, draw_scene, {"train": GOOD, "val": GOOD})
    for split in ("train", "val"):
        content = json.loads((root / f"{split}.json").read_text())
        content["categories"][1]["id"] = 5
        for one in content["annotations"]:
            one["category_id"] = {1: 1, 2: 5}[one["category_id"]]
        content["annotations"] = [
            one for one in content["annotations"] if one["image_id"] > (7 if split == "train" else 0)
        ]
        (root / f"{split}.json").write_text(json.dumps(content))
    report = check_data(root)
    gaps = found(report, "category_gaps")
    assert gaps.severity == "info" and "1 to 5 with 3 gaps (2; 3; 4)" in gaps.message
    empty = {finding.split: finding for finding in report.every if finding.kind == "no_objects"}
    assert empty["train"].severity == "warning" and empty["train"].count == 8
    assert empty["val"].severity == "info" and empty["val"].files == ("val0.png",)


def test_images_that_are_black_or_blurred(tmp_path: Path, draw_scene: Make) -> None:
    root = write_folders(tmp_path, draw_scene, SOUND)
    Image.new("RGB", (128, 96), (3, 2, 4)).save(root / "train/cat/night.png")
    sharp = Image.open(root / "train/dog/2.png")
    sharp.filter(ImageFilter.GaussianBlur(6)).save(root / "train/dog/soft.png")
    report = check_data(root)
    assert found(report, "black").files == ("train/cat/night.png",)
    assert found(report, "blurred").files == ("train/dog/soft.png",)


def mask_set(
    root: Path, draw: Make, change: Callable[[Image.Image], Image.Image], suffix: str = "png", **options: Any
) -> Path:
    """Mask folders of twelve images a split with a rectangle of class 1, changed before it is saved."""
    for split in ("train", "val"):
        for number in range(12):
            draw(root / "images" / split / f"{number}.png", seed=f"{split}{number}")
            mask = Image.new("L", (128, 96), 0)
            ImageDraw.Draw(mask).rectangle((20 + number, 20, 80 + number, 70), fill=1)
            path = root / "masks" / split / f"{number}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            change(mask).save(path, **options)
    (root / "classes.txt").write_text("background\nthing\n")
    return root


def test_deep_images_that_use_little_of_their_range_or_have_no_known_one(tmp_path: Path) -> None:
    numbers = np.arange(20 * 24).reshape(20, 24)
    for number in range(12):
        for name in ("a", "b"):
            file = tmp_path / name / f"{number}.png"
            file.parent.mkdir(exist_ok=True)
            Image.fromarray((numbers * 6 + number).astype(np.uint16)).save(file)
    finding = found(check_data(tmp_path), "number_range")
    assert (finding.severity, finding.count) == ("warning", 24)
    assert finding.message == (
        "24 of 24 images hold numbers up to 2885 of 0..65535, so the model gets 12 of 256 gray levels"
    )
    assert finding.cure == "state the range of these images with 'scale', such as scale: [0, 4095]"
    Image.fromarray((numbers * 100).astype(np.uint16)).save(tmp_path / "a" / "bright.png")
    Image.fromarray(numbers.astype(np.float32)).save(tmp_path / "a" / "counts.tif")
    unknown = found(check_data(tmp_path), "number_range")
    assert unknown.files == ("a/counts.tif",) and "train.scale" in unknown.cure
    assert "a/counts.tif: it holds float32 from 0 to 479, an ambiguous range" in unknown.message


def test_sound_masks_have_no_finding(tmp_path: Path, draw_scene: Make) -> None:
    report = check_data(mask_set(tmp_path, draw_scene, lambda mask: mask))
    assert report.tasks == ("segment",) and not report.every


def test_masks_that_are_lossy_or_ignored_or_have_specks(tmp_path: Path, draw_scene: Make) -> None:
    lossy = mask_set(tmp_path / "lossy", draw_scene, lambda mask: mask.point(lambda value: 0), "jpg", quality=100)
    assert found_first(check_data(lossy), "lossy_masks").count == 12

    def mostly_ignored(mask: Image.Image) -> Image.Image:
        ImageDraw.Draw(mask).rectangle((0, 0, 127, 69), fill=255)
        return mask

    report = check_data(mask_set(tmp_path / "ignored", draw_scene, mostly_ignored))
    share = found_first(report, "ignored_pixels")
    assert share.severity == "warning" and "73% of the pixels are ignored" in share.message

    def speck(mask: Image.Image) -> Image.Image:
        cleared = mask.point(lambda value: 0)
        cleared.putpixel((5, 5), 1)
        return cleared

    assert found_first(check_data(mask_set(tmp_path / "specks", draw_scene, speck)), "specks").count == 12


def test_values_past_the_list_are_errors(tmp_path: Path, draw_scene: Make) -> None:
    root = mask_set(tmp_path, draw_scene, lambda mask: mask.point(lambda value: value + 1))
    report = check_data(root)
    assert not report.sound and any("value 2 of no class" in finding.message for finding in report.every)


def test_a_tiny_validation_split(tmp_path: Path, draw_scene: Make) -> None:
    report = check_data(write_folders(tmp_path, draw_scene, {**SOUND, "val/cat": 2, "val/dog": 2}))
    assert found(report, "tiny_split").split == "val" and "4 images only" in found(report, "tiny_split").message


def test_a_drawn_split_is_told(tmp_path: Path, draw_scene: Make) -> None:
    report = check_data(write_folders(tmp_path, draw_scene, {"cat": 5, "dog": 5}))
    drawn = [finding for finding in report.every if finding.kind == "drawn_split"]
    assert all(finding.severity == "info" for finding in drawn) and len(drawn) == 3
    assert {name: split.classes["classify"] for name, split in report.splits.items()} == {
        "train": {"cat": 3, "dog": 3},
        "val": {"cat": 1, "dog": 1},
        "test": {"cat": 1, "dog": 1},
    }


def test_tasks_are_found_from_what_is_there(tmp_path: Path, draw_scene: Make) -> None:
    root = write_coco(tmp_path, draw_scene, {"train": GOOD, "val": GOOD})
    for split in ("train", "val"):
        content = json.loads((root / f"{split}.json").read_text())
        for one in content["annotations"]:
            x, y, width, height = one["bbox"]
            one["segmentation"] = [[x, y, x + width, y, x + width, y + height, x, y + height]]
        (root / f"{split}.json").write_text(json.dumps(content))
    report = check_data(root)
    assert report.tasks == ("detect", "segment") and report.sound
    assert report.splits["train"].classes["segment"]["dog"] == 12


def test_every_finding_names_its_files_and_json_holds_them(tmp_path: Path, draw_scene: Make) -> None:
    root = write_folders(tmp_path, draw_scene, SOUND)
    for number in range(6):
        (root / f"train/cat/{number}.png").write_bytes(b"no image")
    broken = found(check_data(root), "unreadable")
    assert broken.files == tuple(f"train/cat/{number}.png" for number in range(6)) and broken.cure


def test_two_thousand_images_are_read_once_each(
    tmp_path: Path, draw_scene: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vertebra.data.check.scanning as scanning

    read: list[str] = []
    real = scanning.read_small
    monkeypatch.setattr(scanning, "read_small", lambda path: read.append(str(path)) or real(path))
    steps: list[tuple[int, int]] = []
    check_data(write_folders(tmp_path, draw_scene, SOUND), progress=lambda done, total: steps.append((done, total)))
    assert len(read) == len(set(read)) == 44 and steps[-1] == (44, 44)
