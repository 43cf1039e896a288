"""Annotations in plain text: YOLO's files, and tables of labels, boxes and points, damaged in numbers, lines and bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from fuzz_damage import encoded, spoil_bytes, spoil_text
from fuzz_formats_annotations import IMAGES, TRAIN, _format, _image

CLASSES = ("cat", "dog")
YAML = "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n"


def _write_yolo(folder: Path, points: bool) -> Path:
    for number in range(IMAGES):
        split = "train" if number < TRAIN else "val"
        _image(folder / "images" / split / f"{number}.png", number)
        file = folder / "labels" / split / f"{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        box = f"{number % 2} 0.5 0.4{number} 0.25 0.5"
        outline = "1 0.25 0.25 0.75 0.25 0.5 0.75 0.3 0.5"
        file.write_text(f"{box} 0.5 0.4 2 0.45 0.3 1 0 0 0\n" if points else f"{box}\n{outline}\n")
    (folder / "data.yaml").write_text(YAML + ("kpt_shape: [3, 3]\nflip_idx: [0, 2, 1]\n" if points else ""))
    return folder


def _spoil_yolo(rng: np.random.Generator, folder: Path) -> None:
    files = sorted([*folder.rglob("*.txt"), *folder.glob("*.yaml")])
    for _ in range(int(rng.integers(1, 4))):
        file = files[int(rng.integers(len(files)))]
        file.write_bytes(encoded(rng, spoil_text(rng, file.read_bytes().decode("utf-8", "replace"))))
    if rng.integers(10) == 0:
        images = sorted(folder.rglob("*.png"))
        image = images[int(rng.integers(len(images)))]
        image.write_bytes(spoil_bytes(rng, image.read_bytes()))


def _write_table(folder: Path, name: str, header: str, row: Callable[[int], str]) -> Path:
    lines = [header]
    for number in range(IMAGES * 2):
        _image(folder / "images" / f"{number:02}.png", number)
        lines.append(f"{number:02}.png{row(number)}")
    file = folder / name
    file.write_text("\n".join(line for line in lines if line) + "\n")
    return folder


def _spoil_table(rng: np.random.Generator, folder: Path) -> None:
    file = next(path for path in folder.iterdir() if path.is_file())
    content = file.read_bytes()
    if rng.integers(4):
        file.write_bytes(encoded(rng, spoil_text(rng, content.decode())))
    else:
        file.write_bytes(spoil_bytes(rng, content))


def _label(number: int) -> str:
    return f",{CLASSES[number % 2]},{'train' if number < 4 else 'val'}"


def _box(number: int) -> str:
    return f",{2 + number},3,{20 + 2 * number},{14 + number % 3},{CLASSES[number % 2]}"


def _points(number: int) -> str:
    return f",{2 + number},3.5,{11 + number},14,,{'train' if number < 4 else 'val'}"


def _objects(number: int) -> str:
    return f'", "bbox": [[{4 + 2 * number}, 3, 9, 11]], "category": ["{CLASSES[number % 2]}"]}}'


def _write_lines(folder: Path) -> Path:
    _write_table(folder, "metadata.jsonl", "", _objects)
    file = folder / "metadata.jsonl"
    file.write_text("".join('{"file_name": "' + line + "\n" for line in file.read_text().splitlines()))
    return folder


def _run_lengths(number: int) -> str:
    return f",{number % 2},{100 + number} 5 {124 + number} 7 150 2"


KITTI = "Car 0.88 3 -0.69 5 6 20 18 1 1 3 -1 1 7 1\nDontCare -1 -1 -10 1 2 3 4 -1 -1 -1 -1000 -1000 -1000 -10\n"
FACES = "a/{0}.png\n2\n1 2 13 14 0 0 0 0 0 0 \n5 6 7 8 0 0 0 1 0 0 \n"
POINTS = "version: 1\nn_points: 3\n{\n1 2\n3 4.5\n15 16\n}\n"
PERSON = {"gtboxes": [{"fbox": [1, 2, 9, 8], "tag": "person"}, {"fbox": [1, 2, 3, 4], "tag": "mask"}]}
FRAME = {"labels": [{"category": "car", "box2d": {"x1": 1, "y1": 2, "x2": 13, "y2": 14}}, {"category": "lane"}]}
JOINTS = {"joints": [[3 + number, 4] for number in range(16)], "joints_vis": [1] * 16}


def _write_published(folder: Path, image: str, file: str, line: Callable[[int], str], joined: str = "") -> Path:
    """Images with a text file each, or one with a line or JSON entry for each image.

    Args:
        image, file: their names in the data set; {} is the number of the image.
        line: of an image.
        joined: what stands between the entries of JSON; "" for lines.
    """
    texts: dict[str, list[str]] = {}
    for number in range(IMAGES):
        _image(folder / image.format(number), number)
        texts.setdefault(file.format(number), []).append(line(number))
    for name, lines in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"[{joined.join(lines)}]" if joined else "".join(lines))
    return folder


def _spoil_texts(rng: np.random.Generator, folder: Path) -> None:
    """One of the files that are no images."""
    files = sorted(path for path in folder.rglob("*.*") if path.suffix not in (".png", ".jpg"))
    file = files[int(rng.integers(len(files)))]
    content = file.read_bytes()
    if rng.integers(4):
        file.write_bytes(encoded(rng, spoil_text(rng, content.decode())))
    else:
        file.write_bytes(spoil_bytes(rng, content))


def _wflw(number: int) -> str:
    return " ".join(map(str, range(1, 21))) + " 3" * 176 + f" 1 2 9 9 0 0 0 0 0 0 {number}.png\n"


PUBLISHED = {
    "kitti": ("training/image_2/{}.png", "training/label_2/{}.txt", lambda number: KITTI, ""),
    "visdrone": (
        "train/images/{}.png",
        "train/annotations/{}.txt",
        lambda number: "1,2,3,4,1,4,0,0\n5,6,7,8,0,0,0,0\n",
        "",
    ),
    "wider_face": ("WIDER_train/images/a/{}.png", "split/wider_face_train_bbx_gt.txt", FACES.format, ""),
    "crowdhuman": (
        "Images/{}.jpg",
        "annotation_train.odgt",
        lambda number: json.dumps({"ID": f"{number}", **PERSON}) + "\n",
        "",
    ),
    "bdd100k": (
        "images/train/{}.png",
        "labels/det_train.json",
        lambda number: json.dumps({"name": f"{number}.png", **FRAME}),
        ",",
    ),
    "pts": ("a/{}.png", "a/{}.pts", lambda number: POINTS, ""),
    "wflw": ("images/{}.png", "lists/list_98pt_rect_attr_train.txt", _wflw, ""),
    "mpii": ("images/{}.png", "annot/train.json", lambda number: json.dumps({"image": f"{number}.png", **JOINTS}), ","),
}
WITH_POINTS = ("pts", "wflw", "mpii")
FORMATS = {
    "yolo": _format(partial(_write_yolo, points=False), _spoil_yolo, ("detect", "segment", "classify")),
    "yolo_points": _format(partial(_write_yolo, points=True), _spoil_yolo, ("keypoints", "detect")),
    "table_labels": _format(
        partial(_write_table, name="labels.csv", header="image,label,split", row=_label), _spoil_table, ("classify",)
    ),
    "table_boxes": _format(
        partial(_write_table, name="boxes.csv", header="", row=_box), _spoil_table, ("detect", "classify")
    ),
    "table_lines": _format(_write_lines, _spoil_table, ("detect",)),
    "landmarks": _format(
        partial(_write_table, name="points.csv", header="image,nose_x,nose_y,tail_x,tail_y,tail_v,split", row=_points),
        _spoil_table,
        ("keypoints", "detect"),
    ),
    "table_runs": _format(
        partial(_write_table, name="runs.csv", header="ImageId,ClassId,EncodedPixels", row=_run_lengths),
        _spoil_table,
        ("segment", "detect"),
    ),
    **{
        name: _format(
            partial(_write_published, image=image, file=file, line=line, joined=joined),
            _spoil_texts,
            ("keypoints", "detect") if name in WITH_POINTS else ("detect", "classify"),
        )
        for name, (image, file, line, joined) in PUBLISHED.items()
    },
}
