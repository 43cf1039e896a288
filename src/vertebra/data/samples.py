"""Samples of one or several data sets: images on the canvas, each labeled for some branches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from vertebra.annotations.notes import Note
from vertebra.data.augmentation.mixing import chosen_operations, mixed
from vertebra.data.augmentation.user_transform import UserTransform
from vertebra.data.balance import repeat_factors
from vertebra.data.class_mapping import ClassMapping, class_mapping
from vertebra.data.index import Index
from vertebra.data.on_canvas import OnCanvas, empty_canvas
from vertebra.data.transforms import augment_onto, to_canvas
from vertebra.errors import DataError
from vertebra.preprocess.deferred_image import DeferredImage, ImageLike, as_pixels
from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec
from vertebra.preprocess.images import read_image
from vertebra.preprocess.number_range import RangeUse
from vertebra.preprocess.raw_files import is_deep
from vertebra.recipe.augment import Augment
from vertebra.shards.members import remote_blocks
from vertebra.tasks import get_task
from vertebra.tasks.base import LabelSpec

ATTEMPTS = 20
RANGE_SAMPLES = 16


@dataclass(frozen=True, eq=False)
class Source:
    """One data set of a mix.

    Attributes:
        index: its images and annotations.
        branches: the branches that it is labeled for, each with its task.
        ratio: how often an epoch uses each image: 1 once, 0.5 half of the images, 2 twice.
        balance: whether images with rare classes are drawn more often in training.
        rename_classes: for classes with another name in the branches, from the data set's name to theirs.
    """

    index: Index
    branches: Mapping[str, str]
    ratio: float = 1.0
    rename_classes: Mapping[str, str] | None = None
    balance: bool = False


class SampleKey(NamedTuple):
    """The key of a sample.

    Attributes:
        source, row: the image.
        epoch, position: with the seed, they determine all random numbers.
        blank: an empty canvas without labels instead of the image; it pads the batches of evaluation on several processes.
    """

    source: int
    row: int
    epoch: int = 0
    position: int = 0
    blank: bool = False


class Group(NamedTuple):
    """Images of one source with the same labeled branches.

    Attributes:
        source: index of the source.
        rows: (n,) int64 rows of its images.
        branches: names of the branches.
    """

    source: int
    rows: np.ndarray
    branches: tuple[str, ...]


class Origin(NamedTuple):
    """The file of a sample and its transform.

    Attributes:
        path: the image file.
        transform: from image to canvas coordinates; for a mirrored training image, before mirroring.
    """

    path: Path
    transform: ImageTransform


class Skip(NamedTuple):
    """An image that could not be used: its file and the reason."""

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class Sample:
    """An image on the canvas.

    Attributes:
        image: (C, height, width) uint8.
        size: (height, width) of the valid pixels, at the top left.
        targets: by branch, the annotation in canvas pixels; only the branches that the image is labeled for.
        ground_truths: by branch, the annotation in image pixels; empty in training.
        origin: its file and transform.
        skipped: images that could not be used and that this sample replaces.
        adapted: how annotations were brought over from another size of the image, "scaled" or "turned"; else empty.
    """

    image: Tensor
    size: tuple[int, int]
    targets: Mapping[str, Any]
    ground_truths: Mapping[str, Any]
    origin: Origin
    skipped: tuple[Skip, ...] = ()
    adapted: str = ""


def too_many_skipped(count: int, whole: int) -> bool:
    """Whether a training stops since so many of all images cannot be used: over a tenth and over two of them, or over half."""
    return count > max(2, 0.1 * whole) or 2 * count > whole


class MixedData(Dataset[Sample]):
    """Several data sets combined for a model's branches.

    In training, an image that cannot be used (unreadable, or a mask of another size) is replaced by another image that is
    labeled for the same branches, always by the same one; in evaluation it is left out. Both are counted, see `notes`.

    Args:
        sources: the data sets.
        labels: the labels of each branch; class ids of the data sets are mapped to the branch's by name.
        resize_spec: how an image is resized onto the canvas.
        augment: random changes, for training, or a transform of the user's; None for evaluation, where samples have their
            ground truths.
        seed: of all random numbers.
        channels: of the images.
        reduced_decoding: in training, decode JPEG files at 1/2, 1/4 or 1/8 where a crop is shown smaller than that.

    Raises:
        DataError: a source has no labels for a branch, or none of the branch's classes.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        labels: Mapping[str, LabelSpec],
        resize_spec: ResizeSpec,
        augment: Augment | UserTransform | None,
        *,
        seed: int = 0,
        channels: int = 3,
        reduced_decoding: bool = False,
    ) -> None:
        self.sources = list(sources)
        self.labels = dict(labels)
        self.resize_spec = resize_spec
        self.augment = augment
        self.seed = seed
        self.channels = channels
        self.reduced_decoding = reduced_decoding and augment is not None
        self.skipped: dict[str, str] = {}
        self.adapted: dict[str, str] = {}
        self._notes: list[Note] = []
        self._relabel: dict[tuple[int, str], ClassMapping] = {}
        self._labeled: dict[tuple[int, str], np.ndarray] = {}
        for number, source in enumerate(self.sources):
            for branch, task in source.branches.items():
                self._prepare(number, source, branch, task)
        self.groups = [group for number in range(len(self.sources)) for group in self._groups(number)]
        self._group_of = {(group.source, group.branches): group for group in self.groups}

    def _prepare(self, number: int, source: Source, branch: str, task: str) -> None:
        index = source.index
        if branch not in self.labels:
            raise DataError(f"{index.root}: it is for branch '{branch}', but the branches are {', '.join(self.labels)}")
        if task not in index.columns:
            opened = ", ".join(index.columns)
            raise DataError(f"{index.root}: branch '{branch}' needs labels for {task}, but it was opened for {opened}")
        column = index.columns[task]
        mapping, notes = class_mapping(
            index.labels[task], self.labels[branch], branch, str(index.root), source.rename_classes
        )
        labeled = get_task(task).data.usable(mapping.source_labels, column, mapping.ids)
        self._notes += notes
        self._relabel[number, branch] = mapping
        self._labeled[number, branch] = labeled

    def _groups(self, number: int) -> list[Group]:
        names = list(self.sources[number].branches)
        if not names:
            return []
        flags = np.stack([self._labeled[number, name] for name in names], axis=1)
        codes = flags @ (1 << np.arange(len(names)))
        groups = []
        for code in np.unique(codes[codes > 0]).tolist():
            branches = tuple(name for bit, name in enumerate(names) if code >> bit & 1)
            groups.append(Group(number, np.flatnonzero(codes == code), branches))
        without = int((codes == 0).sum())
        if without:
            rows = np.flatnonzero(codes == 0)[:4]
            shown = [self.sources[number].index.path(int(row)).name for row in rows]
            self._notes.append(Note.of("image", "without a label", "left out", shown, without))
        return groups

    def __len__(self) -> int:
        """Number of labeled images."""
        return sum(len(group.rows) for group in self.groups)

    def blocks(self, group: Group) -> np.ndarray | None:
        """(n,) int64, the block that each image of a group is read with, for data at a URL; None for files on disk."""
        index = self.sources[group.source].index
        return remote_blocks(index.root, index.images[group.rows])

    def repeat_factors(self, group: Group) -> np.ndarray | None:
        """How often training draws each image of a group, see `vertebra.data.balance`; None for equally often.

        Raises:
            DataError: the classes of the images are known only from their pixels.
        """
        source = self.sources[group.source]
        if not source.balance:
            return None
        factors = np.ones(len(group.rows))
        for branch in group.branches:
            task, ids = source.branches[branch], self._relabel[group.source, branch].ids
            presence = get_task(task).data.class_presence(source.index.columns[task], len(ids))
            if presence is None:
                raise DataError(
                    f"{source.index.root}: 'balance: classes' needs the classes of each image before it is opened, but these "
                    "are masks in files; leave balance out, or give outlines"
                )
            factors = np.maximum(factors, repeat_factors(presence[group.rows][:, ids >= 0]))
        return factors

    def measurable(self, branch: str) -> int:
        """Number of images with annotations that a branch's metrics use."""
        count = 0
        for number, source in enumerate(self.sources):
            if branch in source.branches:
                task = source.branches[branch]
                ids = self._relabel[number, branch].ids
                measurable = get_task(task).data.measurable(source.index.columns[task], ids)
                count += int((measurable & self._labeled[number, branch]).sum())
        return count

    def __getitem__(self, key: SampleKey) -> Sample:
        """The sample of a key.

        Raises:
            DataError: in training, neither the image nor any of the replacements that were tried can be used.
        """
        if key.blank:
            return self._blank(key, ())
        skipped: list[Skip] = []
        for row in self._candidates(key):
            try:
                return self._load(key, row, tuple(skipped))
            except DataError as error:
                skipped.append(Skip(str(self.sources[key.source].index.path(row)), str(error)))
        if self.augment is None:
            return self._blank(key, tuple(skipped))
        raise DataError(f"{skipped[0].reason}; nor could any of {len(skipped) - 1} other images be used in its place")

    def _candidates(self, key: SampleKey) -> Iterator[int]:
        """The row of a key, and in training the rows that may replace it, always the same ones."""
        yield key.row
        if self.augment is None:
            return
        rows = self._group_of[key.source, self._branches(key.source, key.row)].rows
        draw = self._draw(key, 1)
        candidates = rows[draw.integers(0, len(rows), ATTEMPTS)] if len(rows) > 2 * ATTEMPTS else draw.permutation(rows)
        yield from dict.fromkeys(int(row) for row in candidates[:ATTEMPTS] if row != key.row)

    def _branches(self, source: int, row: int) -> tuple[str, ...]:
        return tuple(name for name in self.sources[source].branches if self._labeled[source, name][row])

    def _draw(self, key: SampleKey, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, key.epoch, key.position, purpose])

    def _load(self, key: SampleKey, row: int, skipped: tuple[Skip, ...]) -> Sample:
        image, ground_truths, adapted = self._read(key.source, row)
        partners: list[Skip] = []
        if self.augment is None:
            on_canvas = to_canvas(as_pixels(image), ground_truths, self.resize_spec, self.labels)
        else:
            on_canvas = self._augmented(key, image, ground_truths, partners)
        origin = Origin(self.sources[key.source].index.path(row), on_canvas.transform)
        kept = ground_truths if self.augment is None else {}
        size, annotations = on_canvas.transform.size, on_canvas.annotations
        return Sample(on_canvas.image, size, annotations, kept, origin, (*skipped, *partners), adapted)

    def _read(self, number: int, row: int) -> tuple[ImageLike, dict[str, Any], str]:
        """An image, (H, W, C) uint8 or decoded later, its annotations by branch in image pixels, and how these were adapted, see
        `Sample.adapted`."""
        source = self.sources[number]
        path = source.index.path(row)
        image = self._image(path)
        size = (image.shape[0], image.shape[1])
        ground_truths = {}
        adapted = ""
        for branch in self._branches(number, row):
            try:
                column = source.index.columns[source.branches[branch]]
                annotation = column.get(row, size)
                adapted = column.adapted(row, size) or adapted
            except DataError as error:
                raise DataError(f"{path}: {error}") from error
            ground_truths[branch] = self._relabel[number, branch](annotation)
        return image, ground_truths, adapted

    def _image(self, path: Path) -> ImageLike:
        """An image of the data sets, in training decoded when its crop is known."""
        scale = self.resize_spec.scale
        if self.augment is None:
            return read_image(path, self.channels, scale=scale)
        return DeferredImage(path, self.channels, scale=scale, reduce=self.reduced_decoding)

    def _augmented(
        self, key: SampleKey, image: ImageLike, ground_truths: dict[str, Any], skipped: list[Skip]
    ) -> OnCanvas:
        """The augmented image, mixed with others if the options say so; ``skipped`` gets those that could not be used."""
        augment, labels = self.augment, self.labels
        if isinstance(augment, UserTransform):
            return augment.onto(as_pixels(image), ground_truths, self.resize_spec, labels, self._draw(key, 0))
        assert augment is not None

        def render(number: int, resize_spec: ResizeSpec) -> OnCanvas:
            draw = self._draw(key, number + 2 if number else 0)
            drawn_image, annotations = self._partner(key, draw, skipped) if number else (image, ground_truths)
            return augment_onto(drawn_image, annotations, resize_spec, labels, augment, draw)

        if not augment.mixes:
            return render(0, self.resize_spec)
        draw = self._draw(key, 2)
        operations = chosen_operations(ground_truths, augment, draw)
        if not operations:
            return render(0, self.resize_spec)
        return mixed(operations, render, self.channels, self.resize_spec, labels, augment, draw)

    def _partner(
        self, key: SampleKey, draw: np.random.Generator, skipped: list[Skip]
    ) -> tuple[ImageLike, dict[str, Any]]:
        """A random image of the key's source that is labeled for the same branches, with its annotations."""
        rows = self._group_of[key.source, self._branches(key.source, key.row)].rows
        for row in rows[draw.integers(0, len(rows), ATTEMPTS)].tolist():
            try:
                return self._read(key.source, row)[:2]
            except DataError as error:
                skipped.append(Skip(str(self.sources[key.source].index.path(row)), str(error)))
        raise DataError(f"{skipped[-1].reason}; nor could any of {ATTEMPTS - 1} other images be mixed with it")

    def _blank(self, key: SampleKey, skipped: tuple[Skip, ...]) -> Sample:
        """An empty canvas without labels."""
        image = empty_canvas(self.resize_spec, self.channels)
        origin = Origin(
            self.sources[key.source].index.path(key.row), self.resize_spec.transform(*self.resize_spec.size)
        )
        return Sample(image, self.resize_spec.size, {}, {}, origin, skipped)

    def record(self, skipped: Sequence[Skip], adapted: Mapping[str, str] | None = None) -> None:
        """Counts images that could not be used, and those whose annotations were made for another size; each counts once.

        Args:
            skipped: images that could not be used.
            adapted: how annotations were brought over, by the image's file.

        Raises:
            DataError: there are too many of them: more than a tenth of all images and more than two, or more than half.
        """
        self.skipped.update({skip.path: skip.reason for skip in skipped if skip.path not in self.skipped})
        self.adapted.update(adapted or {})
        count, whole = len(self.skipped), len(self)
        if too_many_skipped(count, whole):
            first = next(iter(self.skipped.values()))
            raise DataError(f"{count} of {whole} images cannot be used, too many to go on; the first: {first}")

    def range_notes(self) -> list[str]:
        """Warnings about the range of images of more than 8 bits, from some images of each data set: those that use a small part of
        it, or have numbers outside it, and 8-bit images beside others."""
        use = RangeUse(self.resize_spec.scale)
        for source in self.sources:
            count = len(source.index)
            for row in np.linspace(0, count - 1, min(RANGE_SAMPLES, count), dtype=int).tolist():
                with contextlib.suppress(DataError):  # unreadable images are counted and named when they are loaded
                    path = source.index.path(row)
                    if is_deep(path):
                        read_image(path, self.channels, scale=self.resize_spec.scale, use=use)
                    else:
                        use.add_image()
        return [*use.warnings(), *use.notes()]

    def notes(self) -> list[str]:
        """Warnings about everything that was left out, with counts and names."""
        lines = [str(note) for note in self._notes]
        for change in sorted(set(self.adapted.values())):
            names = [Path(path).name for path, each in self.adapted.items() if each == change]
            which = "whose annotations were made for another size or orientation"
            lines.append(str(Note.of("image", which, f"used with its annotations {change}", names)))
        if self.skipped:
            done = "left out" if self.augment is None else "replaced by others"
            note = Note.of("image", "that could not be used", done, [Path(path).name for path in self.skipped])
            lines.append(f"{note} (first: {next(iter(self.skipped.values()))})")
        return lines
