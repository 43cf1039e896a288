"""Opens a data set: finds out its format by looking, and reads one split of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from vertebra.data.index import Index
from vertebra.data.readers import coco, deeplabcut, image_folder, mask_folder, voc
from vertebra.data.readers.options import ReadOptions
from vertebra.data.splits import check_split
from vertebra.errors import DataError, UnknownName

# in the order in which a folder is tried: one with images and masks has sub-folders with images, as class folders are
READERS: dict[str, ModuleType] = {
    "voc": voc,
    "coco": coco,
    "dlc": deeplabcut,
    "mask_folder": mask_folder,
    "image_folder": image_folder,
}


def open_data(
    path: str | Path,
    task: str,
    split: str,
    *,
    format: str | None = None,
    classes: Sequence[str] | None = None,
    ignore_index: int | None = None,
    seed: int = 0,
    exclusive: bool = True,
) -> Index:
    """Opens one split of a data set.

    A data set without splits is divided by a seeded draw (80/10/10); one with a train and no val split gives a tenth of
    train for val.

    Args:
        path: its folder, or its annotation file.
        task: "classify", "detect", "segment" or "keypoints".
        split: "train", "val" or "test".
        format: "image_folder", "voc", "coco", "dlc" or "mask_folder"; None to find out.
        classes: class names in order, None for the data set's own. What is of other classes is left out, with a note.
        ignore_index: value of mask files whose pixels do not count.
        seed: of the draw where the data set has no splits.
        exclusive: one class an image or pixel (True), or classes that may overlap (False).

    Raises:
        DataError: the data set is missing, empty, of unknown format, of no use for the task, has no such split, or an
            annotation is wrong; the message names the file and the cure.
    """
    place = Path(path)
    check_split(split)
    reader = READERS[choose_format(place, task, format)]
    listed = None if classes is None else tuple(classes)
    index: Index = reader.read(place, task, split, ReadOptions(listed, ignore_index, seed, exclusive))
    return index


def choose_format(path: str | Path, task: str, format: str | None = None) -> str:
    """The format by which a data set is read.

    Args:
        path, task, format: as `open_data` takes them.

    Raises:
        DataError: the data set is missing, empty, of unknown format or of no use for the task.
    """
    place = Path(path)
    name = detect_format(place) if format is None else format
    if name not in READERS:
        raise UnknownName("data format", name, READERS)
    _exists(place)
    reader = READERS[name]
    if task not in reader.TASKS:
        fitting = [other for other, module in READERS.items() if task in module.TASKS]
        if not fitting:
            raise DataError(f"{place}: no data format has labels for task '{task}'")
        raise DataError(
            f"{place}: format '{name}' has no labels for task '{task}', only for {' and '.join(reader.TASKS)}; "
            f"for {task} use {' or '.join(fitting)}"
        )
    return name


def detect_format(path: str | Path) -> str:
    """The format of a data set, by looking at its folder or file.

    Raises:
        DataError: it is missing, empty, or of no format that is known here.
    """
    place = Path(path)
    _exists(place)
    for name, reader in READERS.items():
        if name == "image_folder" and _is_yolo(place):
            raise DataError(
                f"{place}: this looks like YOLO text labels, which are not read here; convert them to COCO JSON"
            )
        if (place.is_dir() or name in ("coco", "dlc", "mask_folder")) and reader.looks_like(place):
            return name
    raise DataError(
        f"{place}: of no known format. Known are: class folders of images, Pascal VOC (Annotations and JPEGImages), "
        "COCO JSON, masks (images and masks folders, or train.txt with 'image mask' lines), and DeepLabCut's tables "
        "(CollectedData_NAME.csv)"
    )


def _is_yolo(place: Path) -> bool:
    labels = place / "labels"
    return labels.is_dir() and next(labels.rglob("*.txt"), None) is not None


def _exists(place: Path) -> None:
    if not place.exists():
        raise DataError(f"{place}: no such folder or file")
    if place.is_dir() and next(place.iterdir(), None) is None:
        raise DataError(f"{place}: this folder is empty")
