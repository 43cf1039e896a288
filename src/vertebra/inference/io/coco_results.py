"""COCO results: what a branch finds in images, as COCO's own tools read it; without torch."""

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
    """The id of each image by its path, and the category id of each class, None for a class that is left out; None for the
    class ids themselves."""

    images: Mapping[str, ImageId]
    categories: Sequence[int | None] | None


def coco_branch(info: ModelInfo, branch: str | None) -> str:
    """The branch whose objects are written.

    Args:
        info: of the model.
        branch: what the user says; None for the only one there is.

    Raises:
        ConfigError: there is no such branch, or several and none was chosen.
    """
    having = [name for name, (task, _) in info.branches.items() if get_task(task).coco_results]
    if not having:
        tasks = " or ".join(name for name, task in all_tasks().items() if task.coco_results)
        raise ConfigError(f"COCO results are for branches of task {tasks}; this model has none")
    if branch is None:
        if len(having) > 1:
            raise ConfigError(f"say whose objects go into the COCO file: --branch {' or --branch '.join(having)}")
        return having[0]
    if branch not in having:
        raise UnknownName("branch with COCO results", branch, having)
    return branch


def coco_ids(
    files: Iterable[Any], classes: Sequence[str], annotations: Path | None, *, dispensable: Collection[str] = ()
) -> CocoIds:
    """Ids for image files and classes.

    Args:
        files: the images' files.
        classes: of the branch.
        annotations: a COCO file. An image is the one whose ``file_name`` its path ends in, a class the category of that
            name. Without it, an image's id is the number that its name is, or else its name without suffix.
        dispensable: classes that are left out where they are no category, as a background is.

    Raises:
        DataError: the annotations are damaged, or an image or class is not in them; or two images have one id.
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
    """A COCO results file, written as results come: lines go into ``<file>.part``, one an image, with which a killed job
    goes on; at the end the file is made from them.

    Args:
        path: the file; it must not exist.
        branch: whose objects are written.
        ids: of images and classes.
        job: what the results depend on; a ``.part`` of another job is refused.

    Attributes:
        part: the lines.
        finished: whether the file was made.

    Raises:
        RunError: the file exists, its ``.part`` is of another job, or another process writes it.
        DataError: its ``.part`` holds something else.
    """

    def __init__(self, path: Path, branch: str, ids: CocoIds, job: Job) -> None:
        check_free(path)
        self.path, self.branch, self.ids = path, branch, ids
        self.part = JsonLines(path.with_name(f"{path.name}.part"), {**job, "branch": branch})
        self.finished = False
        if path.exists():  # another process finished it meanwhile
            self.part.remove()
            check_free(path)

    def write(self, result: Result) -> None:
        """Adds the objects of one image; there may be none."""
        image = str(result.source)
        objects = result[self.branch].to_coco(self.ids.images[image], self.ids.categories)
        self.part.write({"image": image, "objects": objects})

    def finish(self) -> None:
        """Makes the file."""
        check_free(self.path)
        names = self.part.job.names
        wanted = {names.key(image) for image in self.ids.images}
        rows = (row for row in self.part.rows() if names.key_in_file(row["image"]) in wanted)
        with replacing(self.path) as made, made.open("w", encoding="utf-8") as file:
            between = "["
            for found in chain.from_iterable(row["objects"] for row in rows):
                file.write(f"{between}\n{json.dumps(found)}")
                between = ","
            file.write("[]\n" if between == "[" else "\n]\n")
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


def check_free(path: Path) -> None:
    """Nothing is overwritten.

    Raises:
        RunError: the file exists.
    """
    if path.exists():
        raise RunError(f"{path} exists, and nothing is overwritten; choose another name")


def _id_of(stem: str) -> ImageId:
    return int(stem) if stem.isascii() and stem.isdecimal() else stem


def _read(file: Path) -> tuple[dict[str, ImageId], dict[str, int]]:
    """The ids of a COCO file: of images by file name, of categories by name."""
    try:
        raw = json.loads(file.read_bytes())
        images = {str(one["file_name"]): one["id"] for one in raw["images"]}
        return images, {str(one["name"]): int(one["id"]) for one in raw["categories"]}
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{file}: not a COCO file; it needs 'images' with file_name and id, and 'categories' with name and id ({error!r})"
        ) from None


def _known_image(path: Path, known: Mapping[str, ImageId], file: Path) -> ImageId:
    parts = path.absolute().parts
    for start in range(len(parts)):
        name = "/".join(parts[start:])
        if name in known:
            return known[name]
    raise DataError(f"{path}: not among the {len(known)} images of {file}, by its name; leave it out, or add it there")


def _known_class(name: str, known: Mapping[str, int], file: Path) -> int:
    if name not in known:
        raise DataError(f"{file}: has no category '{name}', which is a class of the model (it has: {', '.join(known)})")
    return known[name]
