"""Annotations: each reader with its files damaged, all of its images opened and all of its annotations used."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from fuzz_damage import encoded, spoil_bytes, spoil_json, spoil_text
from fuzz_runner import Format
from PIL import Image

from vertebra.data.open import DataSet, find_data, open_data
from vertebra.errors import DataError
from vertebra.preprocess.images import image_size
from vertebra.tasks import get_task

SIZE = (24, 32)
IMAGES, TRAIN = 3, 2  # of all splits, and of the first one: as few as hold all kinds of annotations
MULTILABEL = {
    "detect": (False,),
    "keypoints": (False,),
    "classify": (True,),
    "segment": (False, True),
    "instances": (False,),
    "rotated_boxes": (False,),
}


def _image(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*SIZE, 3), 10 * number, dtype=np.uint8)).save(path)


def _use(data_set: DataSet, task: str, split: str, multilabel: bool) -> None:
    """What training does with a split: every image's annotation, and the counts."""
    index = open_data(data_set.path, task, split, format=data_set.format, multilabel=multilabel)
    column = index.columns[task]
    data = get_task(task).data
    refused = []
    for row in range(len(index)):
        try:
            size = image_size(index.path(row))
            if column.labeled[row]:
                data.occurrences(column.get(row, size), len(index.labels[task].classes))
                column.count_out_of_bounds(row, size)
        except DataError as error:
            refused.append(error)
    "".join(map(str, index.notes)).encode("utf-8", "replace")
    if refused and len(refused) == len(index):
        raise refused[0]


def _use_some(path: Path, number: int, tasks: tuple[str, ...]) -> None:
    """Two of a format's tasks, of the train or the val split, by turns; refused where one is.

    The format is detected once, for one of the tasks: many inputs read in two ways find more than a few read in all.
    """
    data_set = find_data(path, tasks[number % len(tasks)])
    readings = [(task, multilabel) for task in tasks for multilabel in MULTILABEL[task]]
    turn = number // len(readings)
    chosen = {number % len(readings), (number + 1 + turn // 2 % len(readings)) % len(readings)}
    refused = None
    for reading in sorted(chosen):
        task, multilabel = readings[reading]
        try:
            _use(data_set, task, ("train", "val")[turn % 2], multilabel)
        except DataError as error:
            refused = error
    if refused:
        raise refused


def _write_coco(folder: Path) -> Path:
    images, objects = [], []
    for number in range(IMAGES):
        _image(folder / "images" / f"{number}.png", number)
        images.append({"id": number, "file_name": f"{number}.png", "height": SIZE[0], "width": SIZE[1]})
        left = 2 + number
        outline = [[left, 3, left + 9, 3, left + 9, 14, left, 14]]
        runs = {"size": list(SIZE), "counts": [30, 5, SIZE[0] * SIZE[1] - 35]}
        letters = {"size": list(SIZE), "counts": "n05mf0"}  # the same
        for category, mask in ((1, outline), (2, runs if number % 2 else letters)):
            points = [left, 4, 2, left + 3, 6, 1, 0, 0, 0]
            one = {
                "id": len(objects),
                "image_id": number,
                "category_id": category,
                "bbox": [left, 3, 9, 11],
                "area": 99,
            }
            objects.append({**one, "iscrowd": 0, "segmentation": mask, "keypoints": points, "num_keypoints": 2})
    names = {"keypoints": ["nose", "left", "right"], "skeleton": [[1, 2], [1, 3]]}
    categories = [{"id": 1, "name": "cat", **names}, {"id": 2, "name": "dog", **names}]
    file = folder / "set.json"
    file.write_text(json.dumps({"images": images, "annotations": objects, "categories": categories}))
    return file


def _spoil_coco(rng: np.random.Generator, file: Path) -> None:
    file.write_bytes(spoil_json(rng, json.loads(file.read_text())))


def _write_panoptic(folder: Path) -> Path:
    images, entries = [], []
    file = folder / "annotations" / "panoptic_train.json"
    for number in range(IMAGES):
        _image(folder / "train" / f"{number}.jpg", number)
        images.append({"id": number, "file_name": f"{number}.jpg", "height": SIZE[0], "width": SIZE[1]})
        colors = np.zeros((*SIZE, 3), dtype=np.uint8)
        colors[4:12, 3:20], colors[12:20] = (7, 1, 0), (0, 0, 3)
        mask = file.with_suffix("") / f"{number}.png"
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colors).save(mask)
        segments = [{"id": 263, "category_id": 1, "bbox": [3, 4, 17, 8], "area": 136, "iscrowd": number % 2}]
        segments.append({"id": 196608, "category_id": 2, "bbox": [0, 12, 32, 8], "area": 256, "iscrowd": 0})
        entries.append({"image_id": number, "file_name": f"{number}.png", "segments_info": segments})
    categories = [{"id": 1, "name": "cat", "isthing": 1}, {"id": 2, "name": "grass", "isthing": 0}]
    file.write_text(json.dumps({"images": images, "annotations": entries, "categories": categories}))
    return folder


def _spoil_panoptic(rng: np.random.Generator, folder: Path) -> None:
    file = folder / "annotations" / "panoptic_train.json"
    if rng.integers(3):
        file.write_bytes(spoil_json(rng, json.loads(file.read_text())))
        return
    masks = sorted(file.with_suffix("").iterdir())
    mask = masks[int(rng.integers(len(masks)))]
    mask.write_bytes(spoil_bytes(rng, mask.read_bytes()))


def _write_voc(folder: Path) -> Path:
    for number in range(IMAGES):
        _image(folder / "JPEGImages" / f"{number}.png", number)
        text = f"<annotation>\n<size>\n<width>{SIZE[1]}</width>\n<height>{SIZE[0]}</height>\n</size>\n"
        for left, name in ((2, "cat"), (9, "dog")):
            text += f"<object>\n<name>{name}</name>\n<difficult>0</difficult>\n<bndbox>\n<xmin>{left}</xmin>\n<ymin>2</ymin>\n"
            text += f"<xmax>{left + 8}</xmax>\n<ymax>20</ymax>\n</bndbox>\n</object>\n"
        file = folder / "Annotations" / f"{number}.xml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f'<?xml version="1.0" encoding="utf-8"?>\n{text}</annotation>\n')
    for split, names in (("train", "0\n1\n"), ("val", "2\n")):
        place = folder / "ImageSets" / "Main" / f"{split}.txt"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(names)
    return folder


def _spoil_voc(rng: np.random.Generator, folder: Path) -> None:
    files = [*sorted((folder / "Annotations").iterdir()), *sorted((folder / "ImageSets" / "Main").iterdir())]
    _spoil_one(rng, files)
    if rng.integers(30) == 0:
        bomb = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
        files[0].write_text(f'<!DOCTYPE a [<!ENTITY e0 "ha">{bomb}]><annotation>&e9;</annotation>')
    elif rng.integers(60) == 0:
        files[0].write_text("<annotation>" * 100_000 + "</annotation>" * 100_000)


def _spoil_one(rng: np.random.Generator, files: list[Path]) -> None:
    file = files[int(rng.integers(len(files)))]
    file.write_bytes(encoded(rng, spoil_text(rng, file.read_text())))


def _write_dlc(folder: Path) -> Path:
    rows = ["scorer,,,me,me,me,me,me,me", "bodyparts,,,nose,nose,left,left,right,right", "coords,,,x,y,x,y,x,y"]
    for number in range(IMAGES * 2):
        _image(folder / "labeled-data" / "video" / f"{number:02}.png", number)
        rows.append(f"labeled-data,video,{number:02}.png,3.5,4,{number},9,,")
    file = folder / "labeled-data" / "video" / "CollectedData_me.csv"
    file.write_text("\n".join(rows) + "\n")
    return folder


def _spoil_dlc(rng: np.random.Generator, folder: Path) -> None:
    _spoil_one(rng, [next(folder.rglob("*.csv"))])


def _write_masks(folder: Path, listed: bool) -> Path:
    for number in range(IMAGES):
        split = "train" if number < TRAIN else "val"
        _image(folder / "images" / split / f"{number}.png", number)
        mask = folder / "masks" / split / f"{number}.png"
        mask.parent.mkdir(parents=True, exist_ok=True)
        values = (np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) // 200 % 3).astype(np.uint8 if number % 2 else np.uint16)
        Image.fromarray(values).save(mask)
    (folder / "classes.txt").write_text("ground\nroad\ncar\n" if listed else "0\n1\n2\n")
    for split, numbers in (("train", range(TRAIN)), ("val", range(TRAIN, IMAGES))) if listed else ():
        lines = [f"images/{split}/{number}.png masks/{split}/{number}.png" for number in numbers]
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return folder


def _spoil_lists(rng: np.random.Generator, folder: Path) -> None:
    _spoil_one(rng, sorted(folder.glob("*.txt")))


def _spoil_masks(rng: np.random.Generator, folder: Path) -> None:
    """The file of the names of classes, or mask files: their bytes, or values that no class has."""
    kind = int(rng.integers(3))
    if kind == 0:
        return _spoil_one(rng, [folder / "classes.txt"])
    files = sorted((folder / "masks").rglob("*.png"))
    file = files[int(rng.integers(len(files)))]
    if kind == 1:
        file.write_bytes(spoil_bytes(rng, file.read_bytes()))
        return None
    values = np.zeros(SIZE, dtype=[np.uint8, np.uint16, np.int32, np.float32][int(rng.integers(4))])
    extremes = [-1, 1, 2, 7, 255, 65535, 65536, 2**31 - 1, -(2**31)]
    with np.errstate(all="ignore"):
        values[3, 4] = np.array(extremes[int(rng.integers(len(extremes)))]).astype(values.dtype)
    Image.fromarray(values).save(file, format="TIFF")
    if rng.integers(2):
        (folder / "classes.txt").unlink()
    return None


def _write_voc_masks(folder: Path) -> Path:
    _write_voc(folder)
    for number in range(IMAGES):
        mask = folder / "SegmentationClass" / f"{number}.png"
        mask.parent.mkdir(exist_ok=True)
        colors = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], dtype=np.uint8)
        Image.fromarray(colors[np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) // 200 % 3]).save(mask)
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir()
    (lists / "train.txt").write_text("0\n1\n")
    (lists / "val.txt").write_text("2\n")
    (folder / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nback:0,0,0::\ncat:128,0,0::\ndog:0,128,0::\n"
    )
    return folder


def _spoil_voc_masks(rng: np.random.Generator, folder: Path) -> None:
    texts = [folder / "labelmap.txt", *sorted((folder / "ImageSets" / "Segmentation").iterdir())]
    if rng.integers(3):
        return _spoil_one(rng, texts)
    file = folder / "SegmentationClass" / f"{rng.integers(IMAGES)}.png"
    file.write_bytes(spoil_bytes(rng, file.read_bytes()))
    return None


def _write_object_masks(folder: Path) -> Path:
    for number in range(IMAGES):
        _image(folder / "images" / f"{number}.png", number)
        for item in range(3):
            mask = folder / "masks" / f"{number}_{item}.png"
            mask.parent.mkdir(exist_ok=True)
            values = np.zeros(SIZE, dtype=np.uint8)
            values[2 + item : 9 + item, 3 : 9 + number] = 1
            Image.fromarray(values).save(mask)
    return folder


def _spoil_object_masks(rng: np.random.Generator, folder: Path) -> None:
    """One mask, or all of them."""
    files = sorted((folder / "masks").iterdir())
    for file in files if rng.integers(3) == 0 else [files[int(rng.integers(len(files)))]]:
        file.write_bytes(spoil_bytes(rng, file.read_bytes()))


def _write_matlab(folder: Path) -> Path:
    from scipy.io import savemat

    for number in range(IMAGES):
        _image(folder / "images" / f"{number}.png", number)
        (folder / "masks").mkdir(exist_ok=True)
        values = (np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) // 200 % 3).astype(np.uint8)
        content = {"GTcls": {"Segmentation": values}} if number % 2 else {"mask": values}
        savemat(folder / "masks" / f"{number}.mat", content, do_compression=number > 1)
    return folder


def _write_archive(folder: Path) -> Path:
    _write_folders(folder / "set")
    file = folder / "set.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((folder / "set").rglob("*.png")):
            archive.write(path, path.relative_to(folder).as_posix())
    return file


def _spoil_archive(rng: np.random.Generator, file: Path) -> None:
    file.write_bytes(spoil_bytes(rng, file.read_bytes()))


def _write_folders(folder: Path) -> Path:
    for number in range(IMAGES):
        _image(
            folder / ("train" if number < TRAIN else "val") / ("cat" if number % 2 else "dog") / f"{number}.png", number
        )
    return folder


def _spoil_folders(rng: np.random.Generator, folder: Path) -> None:
    """Files and folders with other names, emptied, removed, made folders or links to themselves, and damaged images."""
    for _ in range(int(rng.integers(1, 4))):
        places = sorted(path for path in folder.rglob("*") if not path.is_symlink())
        if not places:
            return
        place = places[int(rng.integers(len(places)))]
        if not place.is_file():
            names = [b"\xff\xfe", b"a" * 200, b"-1", b"train", b" ", "\u0663".encode(), b"new\nline"]
            name = names[int(rng.integers(len(names)))]
            target = Path(bytes(place.parent).decode() + "/" + name.decode("utf-8", "surrogateescape"))
            if not target.exists():
                place.rename(target)
            return
        content = place.read_bytes()
        place.unlink()
        match int(rng.integers(5)):
            case 0:
                place.mkdir()
            case 1:
                place.symlink_to(place)
            case 2:
                place.touch()
            case 3:
                place.write_bytes(spoil_bytes(rng, content))


def _format(
    write: Callable[[Path], Path], spoil: Callable[[np.random.Generator, Path], None], tasks: tuple[str, ...]
) -> Format:
    return Format(write, spoil, partial(_use_some, tasks=tasks))


FORMATS = {
    "coco": _format(_write_coco, _spoil_coco, ("detect", "segment", "classify", "keypoints")),
    "coco_panoptic": _format(_write_panoptic, _spoil_panoptic, ("segment", "instances", "detect")),
    "voc": _format(_write_voc, _spoil_voc, ("detect", "classify")),
    "voc_masks": _format(_write_voc_masks, _spoil_voc_masks, ("segment",)),
    "object_masks": _format(_write_object_masks, _spoil_object_masks, ("segment", "detect")),
    "matlab_masks": _format(_write_matlab, _spoil_object_masks, ("segment",)),
    "archive": _format(_write_archive, _spoil_archive, ("classify",)),
    "dlc": _format(_write_dlc, _spoil_dlc, ("keypoints", "detect")),
    "mask_lists": _format(partial(_write_masks, listed=True), _spoil_lists, ("segment",)),
    "mask_folder": _format(partial(_write_masks, listed=False), _spoil_masks, ("segment",)),
    "image_folder": _format(_write_folders, _spoil_folders, ("classify",)),
}
