"""Samples of one or several data sets: images on the canvas, each labeled for some branches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from vertebra.annotations.notes import Note
from vertebra.data.augmentation.mixing import chosen_operations, mixed
from vertebra.data.augmentation.user_transform import UserTransform
from vertebra.data.image_cache import ImageCache
from vertebra.data.on_canvas import OnCanvas, PendingCanvas, empty_canvas
from vertebra.data.sources import LabeledSources, Source
from vertebra.data.transforms import augment_onto, augmented, to_canvas
from vertebra.errors import DataError
from vertebra.preprocess.deferred_image import DeferredImage, ImageLike, as_pixels
from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec
from vertebra.preprocess.images import read_image
from vertebra.preprocess.number_range import RangeUse
from vertebra.preprocess.raw_files import is_deep
from vertebra.recipe.augment import Augment
from vertebra.tasks.base import LabelSpec

ATTEMPTS = 20
AHEAD, AHEAD_BYTES = (
    8,
    4_000_000,
)  # samples, and bytes of their files, that are prepared before the first one is decoded
RANGE_SAMPLES = 16


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


@dataclass(frozen=True, eq=False)
class PendingSample:
    """A training sample whose image is not yet decoded.

    Attributes:
        canvas: the image and its annotations.
        path: the image's file.
        adapted: see `Sample`.
        held_bytes: of memory that the image keeps.
    """

    canvas: PendingCanvas
    path: Path
    adapted: str
    held_bytes: int

    def render(self) -> Sample:
        """The sample.

        Raises:
            DataError: the image cannot be decoded.
        """
        on_canvas = self.canvas.render()
        origin = Origin(self.path, on_canvas.transform)
        return Sample(on_canvas.image, on_canvas.transform.size, on_canvas.annotations, {}, origin, (), self.adapted)


def too_many_skipped(count: int, whole: int) -> bool:
    """Whether a training stops since so many of all images cannot be used: over a tenth and over two of them, or over half."""
    return count > max(2, 0.1 * whole) or 2 * count > whole


class MixedData(LabeledSources, Dataset[Sample]):
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
        super().__init__(sources, labels)
        self.resize_spec = resize_spec
        self.augment = augment
        self.seed = seed
        self.channels = channels
        self.reduced_decoding = reduced_decoding and augment is not None
        self.caches: list[ImageCache | None] = [None] * len(self.sources)
        self.skipped: dict[str, str] = {}
        self.adapted: dict[str, str] = {}

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

    def load(self, keys: Sequence[SampleKey]) -> list[Sample]:
        """The samples of keys, in their order, as one by one.

        Files are read and crops are drawn for several samples before these are decoded one after another: decoding drives all
        else out of the processor's caches, so that what is done in turns with it takes two to three times as long.

        Raises:
            DataError: see `__getitem__`.
        """
        samples: list[Sample] = []
        ahead: list[tuple[SampleKey, PendingSample | None]] = []
        for key in keys:
            ahead.append((key, self._pending(key)))
            held = sum(0 if pending is None else pending.held_bytes for _, pending in ahead)
            if len(ahead) == AHEAD or held > AHEAD_BYTES:
                samples.extend(self._rendered(ahead))
                ahead = []
        samples.extend(self._rendered(ahead))
        return samples

    def _pending(self, key: SampleKey) -> PendingSample | None:
        """A sample that is not yet decoded; None for one that is loaded in one step, which also replaces what cannot be used."""
        augment = self.augment
        if key.blank or not isinstance(augment, Augment) or augment.mixes or not augment.moves:
            return None
        try:
            path, image, annotations, adapted = self._read(key.source, key.row)
            canvas = augmented(image, annotations, self.resize_spec, self.labels, augment, self._draw(key, 0))
        except DataError:
            return None
        return PendingSample(canvas, path, adapted, image.nbytes if isinstance(image, np.ndarray) else image.held_bytes)

    def _rendered(self, ahead: Sequence[tuple[SampleKey, PendingSample | None]]) -> Iterator[Sample]:
        for key, pending in ahead:
            try:
                yield self[key] if pending is None else pending.render()
            except DataError:
                if pending is None:
                    raise
                yield self[key]

    def _candidates(self, key: SampleKey) -> Iterator[int]:
        """The row of a key, and in training the rows that may replace it, always the same ones."""
        yield key.row
        if self.augment is None:
            return
        rows = self._group_of[key.source, self._branches(key.source, key.row)].rows
        draw = self._draw(key, 1)
        candidates = rows[draw.integers(0, len(rows), ATTEMPTS)] if len(rows) > 2 * ATTEMPTS else draw.permutation(rows)
        yield from dict.fromkeys(int(row) for row in candidates[:ATTEMPTS] if row != key.row)

    def _draw(self, key: SampleKey, purpose: int) -> np.random.Generator:
        words = [self.seed, key.epoch, key.position, purpose]
        # an array of 32 bits has the same random numbers as the list, in less time
        return np.random.default_rng(words if self.seed >= 2**32 else np.array(words, dtype=np.uint32))

    def _load(self, key: SampleKey, row: int, skipped: tuple[Skip, ...]) -> Sample:
        path, image, ground_truths, adapted = self._read(key.source, row)
        partners: list[Skip] = []
        if self.augment is None:
            on_canvas = to_canvas(as_pixels(image), ground_truths, self.resize_spec, self.labels)
        else:
            on_canvas = self._augmented(key, image, ground_truths, partners)
        origin = Origin(path, on_canvas.transform)
        kept = ground_truths if self.augment is None else {}
        size, annotations = on_canvas.transform.size, on_canvas.annotations
        return Sample(on_canvas.image, size, annotations, kept, origin, (*skipped, *partners), adapted)

    def _read(self, number: int, row: int) -> tuple[Path, ImageLike, dict[str, Any], str]:
        """An image: its file, its pixels (H, W, C) uint8 or decoded later, its annotations by branch in image pixels, and how these
        were adapted, see `Sample.adapted`."""
        source = self.sources[number]
        path = source.index.path(row)
        image = self._image(number, row, path)
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
        return path, image, ground_truths, adapted

    def _image(self, number: int, row: int, path: Path) -> ImageLike:
        """An image; one that is cropped at random, or from a cache, is decoded when its crop is known."""
        scale = self.resize_spec.scale
        load = partial(DeferredImage, path, self.channels, scale=scale, reduce=self.reduced_decoding)
        cache = self.caches[number]
        cached = None if cache is None else cache.image(row, load)
        if cached is not None:
            return cached
        crops = isinstance(self.augment, Augment) and self.augment.moves
        return load() if crops else read_image(path, self.channels, scale=scale)

    def _augmented(
        self, key: SampleKey, image: ImageLike, ground_truths: dict[str, Any], skipped: list[Skip]
    ) -> OnCanvas:
        """The augmented image, mixed with others where the options set this; ``skipped`` gets those that could not be used."""
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
                return self._read(key.source, row)[1:3]
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
            raise DataError(f"{count} of {whole} images cannot be used, too many to continue; the first: {first}")

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
