"""Label Studio: a project's export as JSON or JSON_MIN.

Positions are percent of the image. Of several annotations of a task the last one is read that is not cancelled; predictions are
not read. Images are found by their file names, also without the eight letters that Label Studio puts before the name of an upload.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import SPLITS, Annotations
from vertebra.annotations.values import flag, whole_number
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.files import images_below, is_image, relative
from vertebra.data.readers.image_names import image_folders, resolve_images
from vertebra.data.readers.label_studio_results import image_of_results
from vertebra.data.readers.tool_files import any_file, files_below, read_all, read_json, root_of, split_in
from vertebra.data.readers.tool_objects import Problems, ToolImage, of_split, text, tool_annotations
from vertebra.errors import DataError

_UPLOAD = re.compile(r"^[0-9a-f]{8}-")
_TASK = re.compile(rb'"(?:annotations|completions)"\s*:\s*\[')
_KEYS = re.compile(rb'"(?:data|completed_by|predictions|annotation_id|annotator|original_width)"\s*:')
_MINIMAL = re.compile(rb'"(?:annotation_id|annotator|completed_by)"\s*:')
_CHOICE_KEYS = ("choice", "choices", "class", "label", "category")
_IMAGE_KEYS = ("image", "img", "picture", "photo")


@dataclass
class _Task:
    """One image with the results of its annotation; None for a task that nobody annotated."""

    image: str
    results: Sequence[Any] | None
    id: int | None


class LabelStudioReader(AnnotationReader):
    """Label Studio's JSON and JSON_MIN."""

    name = "label_studio"
    summary = "Label Studio (its export as JSON or JSON_MIN)"
    suffixes = (".json",)
    holds = frozenset({"labels", "boxes", "outlines", "points"})

    def looks_like(self, path: Path) -> bool:
        """Whether a file, or one of the first JSON files in a folder, is Label Studio's."""
        return any_file(path, ".json", _fits)

    def splits(self, path: Path) -> tuple[str, ...]:
        """The splits that folders or files are named as."""
        files = [file for file in files_below(path, ".json") if any_file(file, ".json", _fits)]
        named = {split_in(name, last=True) for name in relative(files, root_of(path))}
        return tuple(split for split in SPLITS if split in named)

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """All tasks of the files.

        Raises:
            DataError: there is no such file, all are damaged, or none of the images exists.
        """
        root, problems = root_of(path), Problems()
        read = read_all(files_below(path, ".json"), _document, "annotation file", problems.noted)
        if not read:
            raise DataError(f"{path}: no JSON or JSON_MIN file of Label Studio in it")
        images: list[ToolImage] = []
        paths: list[str] = []
        for file, entries in read:
            name = file.relative_to(root).as_posix()
            tasks = list(_tasks(entries, file.name, problems))
            part = [_image(task, split_in(name, last=True), problems) for task in tasks]
            folders = image_folders([file.parent, root], split_in(name, last=True), ("upload", "uploads"))
            names = _without_prefix([image.name for image in part], root)
            paths += resolve_images(names, folders, root, file, problems.noted)
            images += part
        return of_split(tool_annotations(images, paths, root, path, (), problems), split)


def _fits(content: bytes) -> bool:
    if not content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        return False
    return bool((_TASK.search(content) and _KEYS.search(content)) or _MINIMAL.search(content))


def _document(file: Path) -> Sequence[Any] | None:
    entries = read_json(file) if any_file(file, ".json", _fits) else None
    return entries if isinstance(entries, list) else None


def _tasks(entries: Sequence[Any], file: str, problems: Problems) -> Iterator[_Task]:
    """The tasks of a file; of those of one image in JSON_MIN the last one."""
    minimal: dict[str, _Task] = {}
    for entry in entries:
        task = _task(entry, file, problems) if isinstance(entry, dict) else None
        if task is None:
            problems.add("task", "without an image", "dropped", file)
        elif "data" in entry:
            yield task
        else:
            key = f"{task.id} {task.image}"
            if key in minimal:
                problems.add("annotation", "of a task with a later one", "left out", task.image)
            minimal[key] = task
    yield from minimal.values()


def _task(entry: Mapping[str, Any], file: str, problems: Problems) -> _Task | None:
    data = entry.get("data", entry)
    image = _image_value(data) if isinstance(data, dict) else ""
    if not image:
        return None
    task_id = whole_number(entry.get("id"))
    if "data" not in entry:
        return _Task(image, list(_minimal_results(entry, image, problems)), task_id)
    annotations = entry.get("annotations", entry.get("completions"))
    valid = _valid(annotations if isinstance(annotations, list) else [], image, problems)
    if entry.get("predictions"):
        problems.add("task", "with predictions", "read without them", image)
    if not valid:
        return _Task(image, None, task_id)
    dates = [text(one.get("created_at")) for one in valid]
    last = max(range(len(valid)), key=lambda row: (dates[row], row)) if all(dates) else len(valid) - 1
    for _ in range(len(valid) - 1):
        problems.add("annotation", "of a task with a later one", "left out", image)
    return _Task(image, valid[last]["result"], task_id)


def _valid(annotations: Sequence[Any], image: str, problems: Problems) -> list[Mapping[str, Any]]:
    """The annotations with results that nobody cancelled."""
    valid: list[Mapping[str, Any]] = []
    for one in annotations:
        if not isinstance(one, dict) or not isinstance(one.get("result"), list):
            problems.add("annotation", "without a list of results", "dropped", image)
        elif flag(one.get("was_cancelled")):
            problems.add("annotation", "that was cancelled", "left out", image)
        else:
            valid.append(one)
    return valid


def _image_value(data: Mapping[str, Any]) -> str:
    """The image of a task: the value of a usual key, or else the first one that is an image's name."""
    names = {key: _file_name(value) for key, value in data.items() if isinstance(value, str)}
    usual = [key for key in names if key.lower() in _IMAGE_KEYS]
    chosen = [names[key] for key in [*usual, *names] if is_image(names[key].rpartition("/")[2])]
    return chosen[0] if chosen else ""


def _file_name(value: str) -> str:
    """The path in a URL, ``/data/upload/…``, ``/data/local-files/?d=…`` or a plain path."""
    if len(value) > 4096 or "\n" in value or "\x00" in value:
        return ""
    try:
        parts = urlsplit(value)
    except ValueError:
        return ""
    if parts.path.endswith("/data/local-files/") or parts.path.endswith("/data/local-files"):
        return (parse_qs(parts.query).get("d") or [""])[0]
    if parts.scheme in ("http", "https", "s3", "gs", "azure-blob", "file") or parts.path.startswith("/data/upload/"):
        return unquote(parts.path)
    return value


def _minimal_results(entry: Mapping[str, Any], image: str, problems: Problems) -> Iterator[Any]:
    """The results in an entry of JSON_MIN: lists of shapes, and choices."""
    for key, value in entry.items():
        if isinstance(value, list):
            yield from ({"value": one, **one} for one in value if isinstance(one, dict))
            for _ in (one for one in value if not isinstance(one, dict)):
                problems.add("value", f"of '{key[:40]}' that is no shape", "left out", image)
        elif isinstance(value, dict) and "choices" in value:
            yield {"type": "choices", "value": value}
    for key in _CHOICE_KEYS:
        if text(entry.get(key)):
            yield {"type": "choices", "value": {"choices": [text(entry[key])]}}


def _image(task: _Task, split: str, problems: Problems) -> ToolImage:
    if task.results is None:
        return ToolImage(task.image, id=task.id, split=split, annotated=False)
    image = image_of_results(task.image, task.results, problems)
    image.id, image.split = task.id, split
    return image


def _without_prefix(names: Sequence[str], root: Path) -> list[str]:
    """The names of uploads without their prefix where no file has it."""
    files = {path.name for path in images_below(root)}
    plain = []
    for name in names:
        folder, slash, file = name.rpartition("/")
        short = _UPLOAD.sub("", file)
        plain.append(folder + slash + (short if file not in files and short in files else file))
    return plain
