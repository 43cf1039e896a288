"""Writes the predictions of a branch as COCO results; without torch."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from vertebra.errors import ConfigError, DataError, RunError, UnknownName
from vertebra.files import replacing
from vertebra.inference.io.json_lines import JsonLines
from vertebra.inference.jobs import Job
from vertebra.inference.results import Result
from vertebra.model_info import ModelInfo
from vertebra.tasks import all_tasks, get_task

ImageId = int | str


class CocoIds(NamedTuple):
    """Image ids by path, and the category id of each class (None for a class to leave out); ``categories`` is None if the class
    ids themselves are used."""

    images: Mapping[str, ImageId]
    categories: Sequence[int | None] | None


def coco_branch(info: ModelInfo, branch: str | None) -> str:
    """The branch whose objects are written.

    Args:
        info: of the model.
        branch: its name; None if the model has only one such branch.

    Raises:
        ConfigError: there is no such branch, or there are several and none is named.
    """
    suitable = [name for name, (task, _) in info.branches.items() if get_task(task).coco_results]
    if not suitable:
        tasks = " or ".join(name for name, task in all_tasks().items() if task.coco_results)
        raise ConfigError(f"COCO results are for branches of task {tasks}; this model has none")
    if branch is None:
        if len(suitable) > 1:
            raise ConfigError(f"several branches have COCO results; choose --branch {' or --branch '.join(suitable)}")
        return suitable[0]
    if branch not in suitable:
        raise UnknownName("branch with COCO results", branch, suitable)
    return branch


def coco_ids(
    files: Iterable[Any], classes: Sequence[str], annotations: Path | None, *, dispensable: Collection[str] = ()
) -> CocoIds:
    """Ids for image files and classes.

    Args:
        files: the image files.
        classes: of the branch.
        annotations: a COCO file. Images are matched by their ``file_name``, which must be the end of the path; classes by
            category name. Without it, an image's id is the number in its file name, or else the name without suffix.
        dispensable: classes that may be missing in the annotations, such as a background.

    Raises:
        DataError: the annotations are damaged, an image or class is missing in them, or two images have the same id.
    """
    paths = [Path(file) for file in files]
    if annotations is None:
        ids: dict[str, ImageId] = {str(path): _id_of(path.stem) for path in paths}
        categories: list[int | None] | None = None
    else:
        known, by_name = _read(annotations)
        ids = {str(path): _known_image(path, known, annotations) for path in paths}
        categories = [
            None if name in dispensable and name not in by_name else _known_class(name, by_name, annotations)
            for name in classes
        ]
    first: dict[ImageId, str] = {}
    for path, image_id in ids.items():
        if first.setdefault(image_id, path) != path:
            raise DataError(
                f"{first[image_id]} and {path} would both have image id {image_id}; rename one, or give --coco-gt"
            )
    return CocoIds(ids, categories)


class CocoResults:
    """Resumable COCO results. Results are written to ``<file>.part``, one line per image, from which a killed job is resumed; at
    the end the file is made from the lines.

    Args:
        path: the file; it must not exist.
        branch: the branch to write.
        ids: of images and classes.
        job: see `vertebra.inference.jobs`; a ``.part`` of another job is refused.

    Attributes:
        part: the lines.
        finished: whether the file was written.

    Raises:
        RunError: the file exists, its ``.part`` is of another job, or another process writes it.
        DataError: its ``.part`` holds something else.
    """

    def __init__(self, path: Path, branch: str, ids: CocoIds, job: Job) -> None:
        refuse_existing(path)
        self.path, self.branch, self.ids = path, branch, ids
        self.part = JsonLines(path.with_name(f"{path.name}.part"), {**job, "branch": branch})
        self.finished = False
        if path.exists():  # another process finished it meanwhile
            self.part.remove()
            refuse_existing(path)

    def write(self, result: Result) -> None:
        """Adds the objects of one image, even if there are none."""
        image = str(result.source)
        objects = result[self.branch].to_coco(self.ids.images[image], self.ids.categories)
        self.part.write({"image": image, "objects": objects})

    def finish(self) -> None:
        """Writes the file from the lines."""
        refuse_existing(self.path)
        names = self.part.job.names
        keys = {names.key(image) for image in self.ids.images}
        rows = (row for row in self.part.rows() if names.key_in_file(row["image"]) in keys)
        with replacing(self.path) as part, part.open("w", encoding="utf-8") as file:
            separator = "["
            for entry in chain.from_iterable(row["objects"] for row in rows):
                file.write(f"{separator}\n{json.dumps(entry)}")
                separator = ","
            file.write("[]\n" if separator == "[" else "\n]\n")
        self.part.remove()
        self.finished = True

    def __enter__(self) -> CocoResults:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self.part.close()


def refuse_existing(path: Path) -> None:
    """Refuses to overwrite a file.

    Raises:
        RunError: the file exists.
    """
    if path.exists():
        raise RunError(f"{path} exists, and nothing is overwritten; choose another name")


def _id_of(stem: str) -> ImageId:
    return int(stem) if stem.isascii() and stem.isdecimal() else stem


def _read(file: Path) -> tuple[dict[str, ImageId], dict[str, int]]:
    """The ids in a COCO file: images by file name, categories by name."""
    try:
        raw = json.loads(file.read_bytes())
        images = {str(entry["file_name"]): entry["id"] for entry in raw["images"]}
        return images, {str(entry["name"]): int(entry["id"]) for entry in raw["categories"]}
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{file}: not a COCO file; it needs 'images' with file_name and id, and 'categories' with name and id ({error!r})"
        ) from None


def _known_image(path: Path, known: Mapping[str, ImageId], file: Path) -> ImageId:
    parts = path.absolute().parts
    for index in range(len(parts)):
        name = "/".join(parts[index:])
        if name in known:
            return known[name]
    raise DataError(f"{path}: not among the {len(known)} images of {file}, by file name; leave it out, or add it there")


def _known_class(name: str, known: Mapping[str, int], file: Path) -> int:
    if name not in known:
        raise DataError(f"{file}: has no category '{name}', which is a class of the model (it has: {', '.join(known)})")
    return known[name]
