"""Annotations of public data sets in text and JSON, as tables: KITTI, VisDrone, WIDER FACE, CrowdHuman, BDD100K (Scalabel), and
points of 300-W (``.pts``), WFLW and MPII.

Each becomes a table with the columns that tables of boxes or points have, so that images, splits and classes are read as theirs.
Regions that do not count (KITTI's DontCare, VisDrone's ignored regions, invalid faces) are crowd.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from vertebra.annotations.notes import Note
from vertebra.data.readers.files import depth_below, file_names, files_of, is_image, lines_of, listing, walk
from vertebra.data.readers.table_files import Table
from vertebra.errors import DataError

BOX = ("xmin", "ymin", "xmax", "ymax")
CORNER = ("x", "y", "w", "h")
SUFFIXES = (".txt", ".json", ".odgt", ".pts")
DEEPEST = 4
MAX_FOLDERS = 300
HEAD_FILES = 20
HEAD_LINES = 500
VISDRONE = (
    *(
        "ignored regions",
        "pedestrian",
        "people",
        "bicycle",
        "car",
        "van",
        "truck",
        "tricycle",
        "awning-tricycle",
        "bus",
    ),
    *("motor", "others"),
)
JOINTS = (
    *(
        "right ankle",
        "right knee",
        "right hip",
        "left hip",
        "left knee",
        "left ankle",
        "pelvis",
        "thorax",
        "upper neck",
    ),
    *("head top", "right wrist", "right elbow", "right shoulder", "left shoulder", "left elbow", "left wrist"),
)
Row = list[Any]


class Published(NamedTuple):
    """A format of a public data set.

    Attributes:
        pattern: of the name of a file, or of a folder of files, in small letters.
        folder: whether it is a folder.
        points: whether it has points rather than boxes.
        read: the table of a file or folder, or of its head; None for one of another format.
    """

    pattern: str
    folder: bool
    points: bool
    read: Callable[[Path, bool], Table | None]


def published_files(path: Path, points: bool) -> list[Path]:
    """The files and folders of public data sets in a folder and those below, or the file itself.

    Args:
        points: whether those with points are wanted rather than those with boxes.
    """
    formats = [each for each in FORMATS if each.points == points]
    if path.is_file():
        return [path] if any(fnmatchcase(path.name.lower(), each.pattern) for each in formats) else []
    files: list[Path] = []
    for folder, inner, _ in islice(walk(path), MAX_FOLDERS):
        inner[:] = [] if depth_below(path, folder) >= DEEPEST else sorted(inner)
        others = listing(folder).with_suffixes(*SUFFIXES)
        for each in formats:
            fitting = inner if each.folder else others
            if each.pattern.startswith("*."):
                files += [Path(folder)] * any(name.lower().endswith(each.pattern[1:]) for name in others)
            else:
                files += [Path(folder, name) for name in fitting if fnmatchcase(name.lower(), each.pattern)]
    return sorted(set(files))


def published_table(file: Path, head: bool) -> Table | None:
    """The table of a file or folder of `published_files`; None for one of another format.

    Raises:
        DataError: it is damaged.
    """
    name = file.name.lower()
    for each in FORMATS:
        if file.is_dir() == (each.folder or each.pattern.startswith("*.")):
            if not (each.pattern.startswith("*.") or fnmatchcase(name, each.pattern)):
                continue
            table = each.read(file, head)
            if table is not None:
                return table
    return None


def is_published(file: Path) -> bool:
    """Whether a table's file is one of a public data set: no CSV file and the like."""
    return file.is_dir() or any(not each.folder and fnmatchcase(file.name.lower(), each.pattern) for each in FORMATS)


def _table(file: Path, names: Sequence[str], rows: Sequence[Row], notes: Sequence[Note] = ()) -> Table | None:
    if not rows:
        return None
    return Table(file, tuple(names), [list(column) for column in zip(*rows, strict=True)], list(notes))


def _numbers(words: Sequence[str]) -> list[float] | None:
    """Finite numbers; None if a word is none."""
    try:
        values = list(map(float, words))
    except ValueError:
        return None
    return values if all(map(math.isfinite, values)) else None


def _wrong_lines(wrong: Sequence[str]) -> list[Note]:
    """A note about lines that are left out, by the names of their files."""
    return [Note.of("line", "without an object of its format", "left out", wrong)] if wrong else []


def _sidecars(
    folder: Path, images: Path, suffix: str, head: bool, notes: list[Note]
) -> Iterable[tuple[str, list[str]]]:
    """The image of each text file in a folder, relative to the folder above, and its lines; notes files without an image."""
    bare: list[str] = []
    by_stem = {name.rpartition(".")[0]: name for name in file_names(images) if is_image(name)}
    for file in islice(files_of(folder, suffix), HEAD_FILES if head else None):
        if file.stem in by_stem:
            yield f"{images.name}/{by_stem[file.stem]}", lines_of(file)
        else:
            bare.append(file.name)
    if bare:
        notes.append(Note.of("annotation file", "without an image", "left out", bare))


def _kitti(folder: Path, head: bool) -> Table | None:
    """``label_2/000000.txt``: a class, truncation, occlusion, angle, four edges, and a box in space in each line."""
    rows: list[Row] = []
    wrong: list[str] = []
    notes: list[Note] = []
    for image, lines in _sidecars(folder, folder.with_name("image_2"), ".txt", head, notes):
        before = len(rows)
        for words in filter(None, map(str.split, lines)):
            box = _numbers(words[4:8]) if len(words) >= 15 else None
            if box is None:
                wrong.append(image)
            else:
                rows.append([image, *box, words[0], words[1], words[2], int(words[0] == "DontCare")])
        if len(rows) == before:
            rows.append([image, *[""] * 8])
    return _table(
        folder, ("image", *BOX, "class", "truncated", "occluded", "iscrowd"), rows, notes + _wrong_lines(wrong)
    )


def _visdrone(folder: Path, head: bool) -> Table | None:
    """``annotations/1.txt`` beside ``images``: left, top, width, height, score, category, truncation and occlusion in each line."""
    rows: list[Row] = []
    wrong: list[str] = []
    notes: list[Note] = []
    for image, lines in _sidecars(folder, folder.with_name("images"), ".txt", head, notes):
        before = len(rows)
        for line in filter(None, map(str.strip, lines)):
            values = _numbers(line.strip(",").split(","))
            if values is None or len(values) != 8 or values[5] not in range(len(VISDRONE)) or max(values[6:]) > 2:
                wrong.append(image)
                continue
            number = int(values[5])
            rows.append([image, *values[:4], VISDRONE[number], int(values[6]), int(values[7]), int(number == 0)])
        if len(rows) == before:
            rows.append([image, *[""] * 8])
    if len(wrong) > sum(row[1] != "" for row in rows):  # text of another format
        return None
    return _table(
        folder, ("image", *CORNER, "class", "truncated", "occluded", "iscrowd"), rows, notes + _wrong_lines(wrong)
    )


def _wider_face(file: Path, head: bool) -> Table | None:
    """The name of an image, the number of its faces, then a line for each: left, top, width, height and six flags."""
    rows: list[Row] = []
    image = ""
    for words in map(str.split, lines_of(file, HEAD_LINES if head else None)):
        values = _numbers(words)
        if values is None:
            image = " ".join(words)
        elif len(values) == 10 and image:
            # an image without faces has a line of zeros
            rows.append([image, *(values[:4] if any(values) else [""] * 4), "face", int(values[7])])
    return _table(file, ("image", *CORNER, "class", "iscrowd"), rows)


def _crowdhuman(file: Path, head: bool) -> Table | None:
    """A JSON object in each line: the full boxes of persons, those that do not count as crowd."""
    rows: list[Row] = []
    for number, line in enumerate(lines_of(file, HEAD_LINES if head else None), start=1):
        try:
            entry: dict[str, Any] = json.loads(line) if line.strip() else {"ID": "", "gtboxes": []}
            image = f"{entry['ID']}.jpg"
            boxes = [(each["fbox"], each["tag"], each.get("extra", {}).get("ignore", 0)) for each in entry["gtboxes"]]
            rows += [[image, *map(float, box), "person", int(tag == "mask" or ignore)] for box, tag, ignore in boxes]
            if not boxes and entry["ID"]:
                rows.append([image, "", "", "", "", "person", 0])
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            raise DataError(f"{file}: line {number} is no image with 'ID' and 'gtboxes'; copy the file again") from None
    if any(len(row) != 7 for row in rows):
        raise DataError(f"{file}: a box is not four numbers; copy the file again")
    return _table(file, ("image", *CORNER, "class", "iscrowd"), rows)


def _scalabel(file: Path, head: bool) -> Table | None:
    """BDD100K's JSON: a list of frames with labels, each with a category and a box."""
    frames = _json_list(file, b'"box2d"')
    if frames is None:
        return None
    rows: list[Row] = []
    left_out = 0
    folder = _folder_of(file, next((str(frame.get("name")) for frame in frames if isinstance(frame, dict)), ""))
    try:
        for frame in islice(frames, HEAD_LINES if head else None):
            before = len(rows)
            for label in frame.get("labels") or ():
                box = label.get("box2d")
                left_out += box is None
                if box is not None:
                    sides = [float(box[side]) for side in ("x1", "y1", "x2", "y2")]
                    rows.append([folder + str(frame["name"]), *sides, str(label["category"])])
            if len(rows) == before:
                rows.append([folder + str(frame["name"]), *[""] * 5])
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise DataError(f"{file}: a frame without 'name', or a label without 'category' and four sides") from None
    notes = [Note.of("label", "without a box", "left out", [file.name], left_out)] if left_out else []
    return _table(file, ("image", *BOX, "class"), rows, notes)


def _folder_of(file: Path, image: str) -> str:
    """The folder below ``images`` that has an image, relative to that of an annotation file, with a slash; "" without one."""
    tops = [folder / "images" for folder in list(file.parents)[:DEEPEST] if (folder / "images").is_dir()]
    inner = (Path(folder) for top in tops[:1] for folder, _, _ in islice(walk(top), MAX_FOLDERS))
    holder = next((folder for folder in inner if image in listing(folder).files), None)
    return "" if holder is None else f"{os.path.relpath(holder, file.parent)}/".replace(os.sep, "/")


def _pts(folder: Path, head: bool) -> Table | None:
    """``1.pts`` beside ``1.jpg``: a line for each point between braces."""
    rows: list[Row] = []
    notes: list[Note] = []
    for image, lines in _sidecars(folder, folder, ".pts", head, notes):
        values = [each for line in lines if (each := _numbers(line.split())) is not None and len(each) == 2]
        rows.append([image, *[number for pair in values for number in pair]])
    usual = max((len(row) for row in rows), default=1)
    if usual < 3 or any(len(row) != usual for row in rows):
        counts = sorted({len(row) // 2 for row in rows})
        if len(counts) > 1:
            raise DataError(
                f"{folder}: its .pts files have {' and '.join(map(str, counts))} points; keep those of one number"
            )
        return None
    return _table(folder, ("image", *_numbered(usual // 2)), rows, notes)


def _wflw(file: Path, head: bool) -> Table | None:
    """98 points, a box, six attributes and the name of the image in each line."""
    rows: list[Row] = []
    wrong: list[str] = []
    for words in filter(None, map(str.split, lines_of(file, HEAD_LINES if head else None))):
        values = _numbers(words[:200])
        if values is None or len(words) < 207:
            wrong.append(file.name)
        else:
            rows.append([" ".join(words[206:]), *values])
    return _table(file, ("image", *_numbered(98), *BOX), rows, _wrong_lines(wrong))


def _mpii(file: Path, head: bool) -> Table | None:
    """A JSON list of persons with 16 joints and their visibility."""
    persons = _json_list(file, b'"joints_vis"')
    rows: list[Row] = []
    try:
        for person in persons or ():
            joints = [
                [float(x), float(y), int(v)] for (x, y), v in zip(person["joints"], person["joints_vis"], strict=True)
            ]
            if len(joints) != len(JOINTS):
                raise ValueError
            rows.append([str(person["image"]), *[value for joint in joints for value in joint]])
    except (ValueError, TypeError, KeyError, OverflowError):
        raise DataError(f"{file}: a person without an image, {len(JOINTS)} joints and their visibility") from None
    names = [f"{joint}_{axis}" for joint in JOINTS for axis in ("x", "y", "v")]
    return _table(file, ("image", *names), rows)


def _numbered(count: int) -> list[str]:
    return [f"{axis}{number}" for number in range(1, count + 1) for axis in ("x", "y")]


def _json_list(file: Path, mark: bytes) -> list[Any] | None:
    """The list in a JSON file with a word in it; None for another one.

    Raises:
        DataError: it is no JSON.
    """
    content = file.read_bytes()
    if mark not in content or not content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        return None
    try:
        entries = json.loads(content)
    except (ValueError, RecursionError):
        raise DataError(f"{file}: damaged, no JSON; copy the file again") from None
    return entries if isinstance(entries, list) else None


FORMATS = (
    Published("label_2", True, False, _kitti),
    Published("annotations", True, False, _visdrone),
    Published("wider_face_*_bbx_gt.txt", False, False, _wider_face),
    Published("annotation_*.odgt", False, False, _crowdhuman),
    Published("det_*.json", False, False, _scalabel),
    Published("bdd100k_labels_images_*.json", False, False, _scalabel),
    Published("*.pts", False, True, _pts),
    Published("list_98pt_rect_attr_*.txt", False, True, _wflw),
    Published("train.json", False, True, _mpii),
    Published("valid.json", False, True, _mpii),
)
