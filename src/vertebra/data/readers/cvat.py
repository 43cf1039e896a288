"""CVAT's XML 1.1, "for images" and "for video": ``annotations.xml`` and the folder ``images``.

Subsets named as splits are the splits. Polygons and masks of one label and group are one object. Tracks of a video give the objects
of each frame that has an image: ``frame_000123.PNG`` as CVAT names them, or the images in their order if there are as many as
frames. Frames of a video are not divided at random: runs of consecutive frames are.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import SPLITS, Annotations
from vertebra.annotations.values import whole_number
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.cvat_files import CvatFile, count_of, is_cvat, read_cvat
from vertebra.data.readers.cvat_shapes import tool_object
from vertebra.data.readers.cvat_tracks import shapes_by_frame
from vertebra.data.readers.files import is_image
from vertebra.data.readers.image_names import image_folders, resolve_images
from vertebra.data.readers.tool_files import any_file, files_below, read_all, root_of, split_in
from vertebra.data.readers.tool_objects import (
    Problems,
    ToolImage,
    ToolObject,
    encode_masks,
    join_parts,
    of_split,
    tool_annotations,
)
from vertebra.data.splits import divide_runs, split_of
from vertebra.errors import DataError

_FRAME = re.compile(r"frame_(\d+)", re.IGNORECASE)


class CvatReader(AnnotationReader):
    """CVAT's XML."""

    name = "cvat"
    summary = "CVAT for images or for video (annotations.xml and images)"
    suffixes = (".xml",)
    holds = frozenset({"labels", "boxes", "outlines", "points"})
    division = "divided into runs of consecutive frames"

    def looks_like(self, path: Path) -> bool:
        """Whether a file, or one of the first XML files in a folder, is CVAT's."""
        return any_file(path, ".xml", is_cvat)

    def splits(self, path: Path) -> tuple[str, ...]:
        """The splits that subsets, folders or files are named as."""
        read = read_all(_files(path), read_cvat, "annotation file", [])
        root = root_of(path)
        named = {_split(subset, file, root) for file, content in read for subset in _subsets(content)}
        return tuple(split for split in SPLITS if split in named)

    def divided(
        self, annotations: Annotations, strata: np.ndarray, shares: dict[str, float], split: str, seed: int
    ) -> np.ndarray:
        """A run of consecutive frames of each video, since neighboring frames are nearly the same image."""
        if annotations.groups is None:
            return super().divided(annotations, strata, shares, split, seed)
        videos = [np.flatnonzero(annotations.groups == group) for group in np.unique(annotations.groups)]
        runs = [rows[divide_runs(len(rows), shares, split)] for rows in videos]
        return np.concatenate([*runs, np.zeros(0, dtype=np.int64)]).astype(np.int64)

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """All images of the files.

        Raises:
            DataError: there is no such file, all are damaged, or none of the images exists.
        """
        root, problems = root_of(path), Problems()
        read = read_all(_files(path), read_cvat, "annotation file", problems.noted)
        if not read:
            raise DataError(f"{path}: no XML file of CVAT in it")
        categories = {category.name: category for _, content in read for category in content.categories}
        images: list[ToolImage] = []
        paths: list[str] = []
        for file, content in read:
            part, part_paths = _video(content, file, root, problems) if content.tracks else ([], [])
            if content.images:
                part, part_paths = _images(content, file, root, problems)
            images += part
            paths += part_paths
        annotations = tool_annotations(images, paths, root, path, list(categories.values()), problems)
        return of_split(annotations, split)


def _files(path: Path) -> list[Path]:
    return [file for file in files_below(path, ".xml") if any_file(file, ".xml", is_cvat)]


def _subsets(content: CvatFile) -> set[str]:
    return {image.subset for image in content.images} | {track.subset for track in content.tracks}


def _split(subset: str, file: Path, root: Path) -> str:
    """The split of a subset, or else of the file's folder or name."""
    return split_of(subset) or split_in(file.relative_to(root).as_posix(), last=True)


def _images(content: CvatFile, file: Path, root: Path, problems: Problems) -> tuple[list[ToolImage], list[str]]:
    """The images of a file "for images", and their paths."""
    images = []
    for track in content.tracks:
        problems.add("track", "in a file of images", "left out", track.label)
    for entry in content.images:
        image = ToolImage(
            entry.name, size=entry.size, id=whole_number(entry.id), split=_split(entry.subset, file, root)
        )
        image.labels = [tag for tag in entry.tags if tag]
        for _ in range(len(entry.tags) - len(image.labels)):
            problems.add("tag", "without a label", "dropped", entry.name)
        for kind in entry.unknown:
            problems.add("element", f"of an unknown kind, <{kind[:40]}>,", "left out", entry.name)
        groups: dict[object, list[ToolObject]] = {}
        for index, (label, shape) in enumerate(entry.shapes):
            one = tool_object(shape, label, entry.name, problems)
            if one is not None and shape is not None:
                joined = shape.group not in ("", "0") and shape.kind in ("polygon", "mask")
                groups.setdefault((label, shape.group) if joined else index, []).append(one)
        image.objects = [join_parts(parts) for parts in groups.values()]
        encode_masks(image, problems)
        images.append(image)
    folders = image_folders([file.parent, root])
    by_subset: dict[str, list[int]] = {}
    for number, entry in enumerate(content.images):
        by_subset.setdefault(entry.subset, []).append(number)
    paths = [""] * len(images)
    for subset, numbers in by_subset.items():
        inner = [folder / subset for folder in folders if _is_subfolder(folder, subset)]
        names = [images[number].name for number in numbers]
        resolved = resolve_images(names, [*inner, *folders], root, file, problems.noted)
        for number, path in zip(numbers, resolved, strict=True):
            paths[number] = path
    return images, paths


def _is_subfolder(folder: Path, name: str) -> bool:
    """Whether a name is that of a folder right in another."""
    try:
        return bool(name) and name == Path(name).name and (folder / name).is_dir()
    except (OSError, ValueError):
        return False


def _video(content: CvatFile, file: Path, root: Path, problems: Problems) -> tuple[list[ToolImage], list[str]]:
    """The frames of a file "for video" that have an image, and their paths."""
    tasks = sorted({track.task for track in content.tracks})
    if len(tasks) > 1:
        raise DataError(f"{file}: tracks of {len(tasks)} videos in one file; export each task of the project alone")
    subset = content.tracks[0].subset
    frames = _frames(content, file, root, subset, problems)
    name = file.relative_to(root).as_posix()
    images = {
        frame: ToolImage(path, size=content.size, id=frame, split=_split(subset, file, root), group=name)
        for frame, path in frames.items()
    }
    for number, track in enumerate(content.tracks):
        shapes = [shape for shape in track.shapes if shape is not None]
        for _ in range(len(track.shapes) - len(shapes)):
            problems.drop("without a frame or finite coordinates", name)
        for _ in range(len(shapes) - len({shape.frame for shape in shapes})):
            problems.drop("of a track that has a later one on the same frame", name)
        for kind in track.unknown:
            problems.add("element", f"of an unknown kind, <{kind[:40]}>,", "left out", name)
        for frame, shape in shapes_by_frame(shapes, list(frames)):
            one = tool_object(shape, track.label, images[frame].name, problems)
            if one is not None:
                one.attributes["track_id"] = number
                images[frame].objects.append(one)
    for image in images.values():
        encode_masks(image, problems)
    return list(images.values()), list(frames.values())


def _frames(content: CvatFile, file: Path, root: Path, subset: str, problems: Problems) -> dict[int, str]:
    """The image of each frame that has one, relative to the root, ascending."""
    folders = image_folders([file.parent, root])
    folders = [folder / subset for folder in folders if _is_subfolder(folder, subset)] + folders
    listed = [sorted(one.name for one in folder.iterdir() if is_image(one.name)) for folder in folders]
    prefixes = [Path(folder).relative_to(root).as_posix() for folder in folders]
    for prefix, names in zip(prefixes, listed, strict=True):
        numbered = {int(match[1]): name for name in names if (match := _FRAME.match(name)) and len(match[1]) < 19}
        if numbered:
            used = {
                frame: numbered[frame] for frame in sorted(numbered) if not content.frames or frame in content.frames
            }
            for frame in sorted(set(numbered) - set(used)):
                problems.add("image", "beside the frames of the task", "left out", numbered[frame])
            if content.frames and count_of(content.frames) > len(used):
                missing = count_of(content.frames) - len(used)
                problems.noted.append(Note.of("frame", "of the task without an image", "left out", [], missing))
            return _paths(used, prefix)
    for prefix, names in zip(prefixes, listed, strict=True):
        if names and len(names) == count_of(content.frames):
            problems.add(
                "video", "whose frames have other names than CVAT's", "matched in the order of names", file.name
            )
            return _paths(dict(zip(content.frames, names, strict=True)), prefix)
    video = f" of {content.video[:100]}" if content.video else ""
    raise DataError(
        f"{file}: the images of its frames are not found; export{video} with images, or write the frames as "
        f"images/frame_000000.png, images/frame_000001.png … (searched in {', '.join(map(str, folders[:6]))})"
    )


def _paths(names: dict[int, str], folder: str) -> dict[int, str]:
    prefix = "" if folder == "." else f"{folder}/"
    return {frame: prefix + name for frame, name in names.items()}
