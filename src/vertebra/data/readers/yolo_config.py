"""The description of a YOLO data set: ``data.yaml`` of Ultralytics and Roboflow, ``obj.data`` of Darknet, files of class names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vertebra.annotations.values import whole_number
from vertebra.data.readers.files import file_names, files_of, lines_of
from vertebra.data.splits import split_of
from vertebra.errors import ConfigError, DataError
from vertebra.yaml_files import read_raw

YAML_SUFFIXES = (".yaml", ".yml")
PREFERRED = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
NAME_FILES = ("classes.txt", "obj.names", "classes.names", "_darknet.labels", "predefined_classes.txt", "labels.txt")
LARGEST = 1 << 18  # bytes of a description
MOST_CLASSES = 100_000
MOST_POINTS = 10_000


@dataclass(frozen=True)
class YoloConfig:
    """The content of a description.

    Attributes:
        file: the description; None for a folder without one.
        path: the folder that its paths are relative to, as it is written; empty for the file's own.
        names: class names by id; None if it names none.
        sources: by split, the folders and lists of images.
        point_shape: (K, 2 or 3), number of points and of values of each.
        flip_order: (K,) the point that each becomes in a mirrored image.
        point_names: (K,) names of the points.
        remarks: parts that are unusable, for notes.
    """

    file: Path | None = None
    path: str = ""
    names: Mapping[int, str] | None = None
    sources: Mapping[str, list[str]] = field(default_factory=dict)
    point_shape: tuple[int, int] | None = None
    flip_order: tuple[int, ...] | None = None
    point_names: tuple[str, ...] | None = None
    remarks: tuple[str, ...] = ()


def config_files(path: Path) -> list[Path]:
    """The descriptions in a folder, the likeliest first; the file itself if it is one."""
    if path.is_file():
        return [path] if path.suffix.lower() in (*YAML_SUFFIXES, ".data") and _describes(path) else []
    files = files_of(path, *YAML_SUFFIXES, ".data")
    files.sort(
        key=lambda file: PREFERRED.index(file.name.lower()) if file.name.lower() in PREFERRED else len(PREFERRED)
    )
    return [file for file in files[:100] if _describes(file)]


def read_config(file: Path) -> YoloConfig:
    """A description.

    Raises:
        DataError: it is damaged, or names no class.
    """
    raw = _raw(file)
    remarks: list[str] = []
    names = _names(raw, file, remarks)
    shape = _point_shape(raw, file)
    flips = raw.get("flip_idx")
    order = (
        tuple(number for number in map(whole_number, flips) if number is not None) if isinstance(flips, list) else None
    )
    if order is not None and (shape is None or sorted(order) != list(range(shape[0]))):
        remarks.append("flip_idx")
        order = None
    points = _point_names(raw, shape)
    path = str(raw.get("path") or "")
    return YoloConfig(file, path, names, _sources(raw), shape, order, points, tuple(remarks))


def class_names_beside(folders: Sequence[Path]) -> tuple[Path, dict[int, str]] | None:
    """The class names of a file with one on each line, and that file.

    Raises:
        DataError: the file is no text.
    """
    for folder in folders:
        files = {name.lower(): folder / name for name in file_names(folder)}
        others = sorted(name for name in files if name.endswith(".names"))
        for name in (*NAME_FILES, *others):
            if name in files:
                names = _lines_as_names(files[name])
                if names:
                    return files[name], names
    return None


def _describes(file: Path) -> bool:
    """Whether a file is a description, without an error for others."""
    try:
        content = file.read_bytes() if file.stat().st_size <= LARGEST else b""
        if not (b"names" in content or b"nc" in content or b"classes" in content):
            return False
        raw = _raw(file)
    except (DataError, OSError):
        return False
    return ("names" in raw or "nc" in raw) and bool(_sources(raw))


def _raw(file: Path) -> dict[str, Any]:
    if file.suffix.lower() != ".data":
        try:
            return {str(key): value for key, value in read_raw(file).items()}
        except ConfigError as error:
            raise DataError(str(error)) from None
    pairs = [line.partition("=") for line in lines_of(file) if "=" in line and not line.lstrip().startswith("#")]
    raw: dict[str, Any] = {key.strip(): value.strip() for key, _, value in pairs}
    return {**raw, "nc": raw["classes"]} if "classes" in raw else raw


def _sources(raw: Mapping[str, Any]) -> dict[str, list[str]]:
    """The folders and lists of images by split."""
    sources: dict[str, list[str]] = {}
    for key, value in raw.items():
        split = split_of(key) if key.lower() in ("train", "val", "valid", "validation", "test") else None
        entries = [value] if isinstance(value, str) else value
        if split and isinstance(entries, list) and all(isinstance(entry, str) for entry in entries):
            listed = [entry.strip() for entry in entries if entry.strip()]
            if listed:
                sources.setdefault(split, []).extend(listed)
    return sources


def _names(raw: Mapping[str, Any], file: Path, remarks: list[str]) -> dict[int, str] | None:
    """Class names by id."""
    given, count = raw.get("names"), whole_number(raw.get("nc"))
    if isinstance(given, str):
        names_file = next((path for path in _candidates(file.parent, given) if path.is_file()), None)
        if names_file is None:
            raise DataError(f"{file}: its file of class names, {given}, is not found beside it")
        names = _lines_as_names(names_file)
    elif isinstance(given, list):
        names = {number: str(name) for number, name in enumerate(given)}
    elif isinstance(given, dict):
        numbers = [whole_number(key) for key in given]
        if any(number is None or not 0 <= number < MOST_CLASSES for number in numbers):
            raise DataError(f"{file}: the keys of 'names' must be class ids: whole numbers from 0")
        pairs = zip(numbers, given.values(), strict=True)
        names = {number: str(name) for number, name in sorted((key, name) for key, name in pairs if key is not None)}
    elif given is not None:
        raise DataError(f"{file}: 'names' must be a list of class names, or a mapping from ids to names")
    elif count is not None and 0 < count < MOST_CLASSES:
        return {number: f"class_{number}" for number in range(count)}
    else:
        return None
    if not names:
        raise DataError(f"{file}: 'names' names no class")
    if count is not None and count != len(names):
        remarks.append(f"nc: {count} beside {len(names)} names")
    return names


def _candidates(folder: Path, name: str) -> list[Path]:
    """A file below a folder, by any end of its path."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")][-50:]
    return [folder.joinpath(*parts[first:]) for first in range(len(parts))]


def _lines_as_names(file: Path) -> dict[int, str]:
    lines = [line.strip() for line in lines_of(file)]
    while lines and not lines[-1]:
        lines.pop()
    return {number: line for number, line in enumerate(lines) if line}


def _point_shape(raw: Mapping[str, Any], file: Path) -> tuple[int, int] | None:
    given = raw.get("kpt_shape")
    if given is None:
        return None
    numbers = [whole_number(value) for value in given] if isinstance(given, list) else []
    match numbers:
        case [int(count), 2 | 3 as values] if 0 < count <= MOST_POINTS:
            return (count, values)
    raise DataError(f"{file}: 'kpt_shape' must be [number of points, 2 or 3], as [17, 3]")


def _point_names(raw: Mapping[str, Any], shape: tuple[int, int] | None) -> tuple[str, ...] | None:
    """The names of the points, which Ultralytics lists by class."""
    given = raw.get("kpt_names")
    entries = list(given.values()) if isinstance(given, dict) else given
    if isinstance(entries, list) and entries and isinstance(entries[0], list):
        entries = entries[0]
    if shape is None or not isinstance(entries, list) or len(entries) != shape[0]:
        return None
    names = tuple(map(str, entries))
    return names if len(set(names)) == len(names) else None


def locate(base: Path, entry: str, inside: Path | None) -> Path | None:
    """The file or folder of an entry.

    Ultralytics reads ``../train/images`` also as ``train/images``, since Roboflow writes it so. Of a path that does not exist
    here the longest end that exists below the folder is taken.

    Args:
        base: folder that the entry is relative to.
        entry: a path of any system.
        inside: the folder in which it must be; None for anywhere.
    """
    name = entry.replace("\\", "/")
    direct = Path(os.path.normpath(base / name))
    allowed = inside is None or direct.is_relative_to(os.path.normpath(inside))
    candidates = [*([direct] if allowed else []), *_candidates(base, name)]
    try:
        return next((path for path in candidates if path.exists()), None)
    except (OSError, ValueError):  # a name that no file can have
        return None
