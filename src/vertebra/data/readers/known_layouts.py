"""Public data sets and exports that no reader reads, by the names in their folders: what they are, and what is read instead.

Without them, their folders would pass for class folders, or be refused without a cure.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from vertebra.data.readers.files import any_below, depth_below, files_of, is_image, walk

DEEPEST = 3
MAX_FOLDERS = 100
MAX_NAMES = 2000  # of a folder
SNIFFED = 4096  # bytes of a JSON file
BOXES = "write a table with the columns image, xmin, ymin, xmax, ymax, class"
POINTS = "write a table with the columns image, nose_x, nose_y …"
MPII = "add the JSON files annot/train.json and annot/valid.json that are made of them"
LABELS = "write a table with the columns image, label, split"
MASKS = "its masks number the objects; save each object as a mask, images/1.png and masks/1_01.png, masks/1_02.png"
EXPORT = "export it as COCO, or write a table with the columns image, xmin, ymin, xmax, ymax, class"
ARRAYS = "its images are packed in arrays; save each as a file in a folder of its class"


class KnownLayout(NamedTuple):
    """Files that no reader reads.

    Attributes:
        name: of the data set or the tool.
        patterns: of names in small letters in its folders, each of which must be there.
        cure: what is read instead.
    """

    name: str
    patterns: tuple[str, ...]
    cure: str


LAYOUTS = (
    KnownLayout("MOTChallenge", ("seqinfo.ini",), BOXES),
    KnownLayout("Penn-Fudan", ("pedmasks",), MASKS),
    KnownLayout("MPII Human Pose", ("mpii_human_pose_v1*",), MPII),
    KnownLayout("FreiHAND", ("training_xyz.json",), POINTS),
    KnownLayout("Stanford Cars", ("cars_train_annos.mat",), LABELS),
    KnownLayout("Oxford Flowers 102", ("imagelabels.mat", "setid.mat"), LABELS),
    KnownLayout("FGVC-Aircraft", ("images_variant_*.txt",), LABELS),
    KnownLayout("Caltech 101", ("101_objectcategories",), "name its folder 101_ObjectCategories"),
    KnownLayout("ImageNet of Kaggle", ("ilsvrc", "cls-loc"), "name its folder ILSVRC/Data/CLS-LOC"),
    KnownLayout("ADE20K with all classes", ("index_ade20k*",), "use ADEChallengeData2016, with one mask an image"),
    KnownLayout("CIFAR", ("data_batch_1",), ARRAYS),
    KnownLayout("MNIST and similar sets", ("*-ubyte*",), ARRAYS),
)
EXPORTS = (
    ("Labelbox", (b'"data_row"',)),
    ("V7 Darwin", (b"darwin_json",)),
    ("Encord", (b'"label_hash"',)),
    ("Scale", (b'"task_id"', b'"params"', b'"attachment')),
)
"""Tools, and the words that are all in the first JSON file of their exports."""


def known_layout(path: Path) -> str:
    """What a data set is, and what is read instead, as part of a sentence; "" for a folder that is not known."""
    if not path.is_dir():
        return ""
    names = _names(path)
    for layout in LAYOUTS:
        if all(any(fnmatchcase(name, pattern) for name in names) for pattern in layout.patterns):
            if layout.cure == ARRAYS and any_below(path, is_image):  # somebody saved them as files
                continue
            return f"its files are those of {layout.name}, which are not read: {layout.cure}"
    start = _json_start(path)
    tool = next((tool for tool, marks in EXPORTS if all(mark in start for mark in marks)), "")
    return f"it is an export of {tool}, which is not read: {EXPORT}" if tool else ""


def _names(path: Path) -> set[str]:
    """The names of files and folders in the first folders of a data set, in small letters."""
    names: set[str] = set()
    for folder, inner, files in islice(walk(path), MAX_FOLDERS):
        inner[:] = [] if depth_below(path, folder) >= DEEPEST else sorted(inner)[:MAX_FOLDERS]
        names.update(name.lower() for name in (*inner, *files[:MAX_NAMES]) if not is_image(name))
    return names


def _json_start(path: Path) -> bytes:
    """The start of the first JSON file in a folder, or in the folders below."""
    folders = (Path(folder) for folder, _, _ in islice(walk(path), MAX_FOLDERS))
    file = next((file for folder in folders for file in files_of(folder, ".json", ".ndjson")), None)
    if file is None:
        return b""
    with file.open("rb") as opened:
        return opened.read(SNIFFED)
