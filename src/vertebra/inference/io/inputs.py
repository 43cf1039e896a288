"""The inputs of prediction: turns the arguments of `predict` into images and frames; without torch."""

from __future__ import annotations

from collections.abc import Container, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from glob import glob, has_magic
from itertools import groupby, repeat, takewhile
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL.Image import Image as PillowImage

from vertebra.errors import ConfigError, DataError
from vertebra.inference.io.image_urls import ImageUrl, content_type, url_suffix
from vertebra.inference.io.prefetch import prefetch
from vertebra.inference.io.streams import Camera, is_address
from vertebra.inference.io.video import VIDEO_SUFFIXES, FrameInfo, Video, VideoFrame
from vertebra.inference.results import Result, Unreadable
from vertebra.preprocess.images import SUFFIXES, layout_of, read_image, source_name
from vertebra.preprocess.number_range import RangeUse, Scale

Item = TypeVar("Item")
PREFETCHED_FRAMES = 2
STREAM_SUFFIXES = VIDEO_SUFFIXES | {".m3u8", ".mpd", ".mjpg", ".mjpeg", ".sdp"}


@dataclass(frozen=True, eq=False)
class MemoryImage:
    """An image in memory: a Pillow image, an array, a tensor, or the bytes of a file.

    Attributes:
        pixels: the image object.
        position: its position in the input list, such as ``images[2]``; empty if it was passed alone.
    """

    pixels: Any
    position: str = ""

    @property
    def name(self) -> str:
        """Its name in messages: its type, its position in the list, and the interpreted layout."""
        kind, described = layout_of(self.pixels), source_name(self.pixels)
        where = ", taken for ".join(part for part in (self.position, kind) if part)
        return f"{described} ({where})" if self.position else described

    def __str__(self) -> str:
        return self.name


SOURCES = (MemoryImage, ImageUrl, VideoFrame, Video, Camera, Unreadable)


class Image(NamedTuple):
    """An image that was read, without pixels if they can be read from a file again.

    Attributes:
        source: its file, or else its pixels (height, width, C) uint8, on which predictions are drawn.
        size: (height, width) in pixels.
        frame_info: the source, number and time of a video frame; else None.
        address: the address it was downloaded from, or None.
    """

    source: Path | np.ndarray
    size: tuple[int, int]
    frame_info: FrameInfo | None = None
    address: str | None = None

    def result(self, predictions: dict[str, Any]) -> Result:
        """The result with these predictions, by branch."""
        file = self.source if self.frame_info is None else self.frame_info.source
        return Result(predictions, file if isinstance(file, Path) else None, self.size, self.frame_info, self.address)


def read_source(
    source: Any, channels: int, scale: Scale = "auto", use: RangeUse | None = None
) -> tuple[Image, np.ndarray] | Unreadable:
    """Reads an image of any kind.

    Args:
        source: a file, a `MemoryImage`, an `ImageUrl` or a `VideoFrame`; an `Unreadable` is returned unchanged.
        channels: of the model.
        scale: the range of the model's input; see `vertebra.preprocess.number_range`.
        use: counts the image and the part of the range that it uses.

    Returns:
        The image and its pixels (height, width, channels) uint8, or why it cannot be read.
    """
    try:
        if isinstance(source, str | Path):
            array = read_image(source, channels, "", scale, use)
            return Image(Path(source), array.shape[:2]), array
        if isinstance(source, VideoFrame):
            array = read_image(source.pixels, channels, "", scale, use)
            return Image(array, array.shape[:2], source.frame_info), array
        if isinstance(source, ImageUrl):
            array = read_image(source.load(), channels, source.name, scale, use)
            return Image(array, array.shape[:2], address=source.name), array
        if isinstance(source, MemoryImage):
            array = read_image(source.pixels, channels, source.name, scale, use)
            return Image(array, array.shape[:2]), array
        assert isinstance(source, Unreadable)
        return source
    except DataError as error:
        return Unreadable(str(source.frame_info.source if isinstance(source, VideoFrame) else source), error)


def list_images(images: Any, position: str = "") -> list[Any]:
    """One entry for each image, video or live source.

    Args:
        images: a file, a folder (images in it and in its subfolders), a pattern such as ``photos/**/*.jpg`` (images and videos;
            ``**`` matches any folders), or an address such as ``https://...`` or ``camera:0``; a Pillow image, an array (H, W) or
            (H, W, C), a tensor (H, W) or (C, H, W), the bytes of a file, or arrays (N, H, W, C) or tensors (N, C, H, W) of
            several images; or a list of these. Videos in a folder are left out.
        position: of the entry in a list, for messages.

    Returns:
        Paths, addresses, and a `MemoryImage` for each image from memory.

    Raises:
        DataError: a file or folder is missing, or a folder or pattern matches no image.
    """
    if isinstance(images, str | Path):
        return _list_path(images, position)
    if isinstance(images, SOURCES):
        return [images]
    if isinstance(images, list | tuple):
        positions = _positions(position, len(images))
        return [image for entry, where in zip(images, positions, strict=True) for image in list_images(entry, where)]
    if getattr(images, "ndim", None) == 4:
        positions = _positions(position, len(images))
        return [MemoryImage(image, where) for image, where in zip(images, positions, strict=True)]
    return [MemoryImage(images, position)]


def finite_sources(images: Any) -> list[Any]:
    """The sources of a list of results; see `list_images` and `as_source`.

    Raises:
        DataError: see `list_images`.
        ConfigError: a source is a camera or stream, which has no end.
    """
    sources = [as_source(image, ask=False) for image in list_images(images)]
    for source in sources:
        if isinstance(source, Camera):
            raise ConfigError(
                f"{source.name}: a live source has no end; take its results one by one: vertebra.Predictor(model).stream(...)"
            )
    return sources


def as_source(item: Any, position: str = "", *, ask: bool = True) -> Any:
    """The source of an entry: an `ImageUrl`, `Video` or `Camera` for an address or the name of a video, a `MemoryImage` for an
    image in memory. Names of image files are returned unchanged.

    An http address with an image suffix is an image; one with the suffix of a video or playlist is a stream. For other addresses
    the server's content type decides.

    Args:
        item: the user's input.
        position: of the item, for messages.
        ask: whether to request the content type; if False, such an address is an image.
    """
    if isinstance(item, str) and is_address(item):
        return ImageUrl(item) if _is_image_url(item, ask) else Camera(item)
    if isinstance(item, str | Path):
        return Video(Path(item)) if Path(item).suffix.lower() in VIDEO_SUFFIXES else item
    return item if isinstance(item, SOURCES) else MemoryImage(item, position)


def as_sequences(images: Any) -> Any:
    """The images with each folder as one video, whose frames are the images in it; see `Video`. They may be an iterable, which is
    read one by one."""
    if isinstance(images, str | Path):
        is_folder = not (isinstance(images, str) and is_address(images)) and Path(images).is_dir()
        return Video(Path(images)) if is_folder else images
    if isinstance(images, list | tuple):
        return [as_sequences(image) for image in images]
    return images if _is_single(images) else map(as_sequences, images)


def is_image(source: Any) -> bool:
    """Whether a source (see `as_source`) is one image."""
    return not isinstance(source, Video | Camera)


def runs(items: Any) -> Iterator[tuple[bool, Iterator[Any]]]:
    """Images and frames in their order, grouped into runs of live and other sources.

    Args:
        items: the images and videos one by one; or a single entry, as in `list_images`.

    Yields:
        Whether a run is live, and its images and frames (`VideoFrame`); an `Unreadable` replaces a source that cannot be read.
    """
    for live, sources in groupby(
        _as_sources(list_images(items) if _is_single(items) else items), key=lambda source: isinstance(source, Camera)
    ):
        yield live, _expanded(sources)


def expected_count(sources: Iterable[Any]) -> int | None:
    """The number of results of readable sources (see `as_source`); None if a source has no end, or its length is unknown."""
    counts = [
        None if isinstance(source, Camera) else source.count() if isinstance(source, Video) else 1 for source in sources
    ]
    return None if None in counts else sum(count or 0 for count in counts)


def _is_single(images: Any) -> bool:
    """Whether the images are one entry, which must not be iterated: a name, bytes, a picture, an array or a tensor."""
    return isinstance(images, (str, Path, bytes, PillowImage, *SOURCES)) or getattr(images, "ndim", 1) != 1


def _as_sources(items: Iterable[Any]) -> Iterator[Any]:
    for number, item in enumerate(items):
        yield as_source(item, f"images[{number}]")


def _positions(position: str, count: int) -> list[str]:
    """The positions of the entries of a list; empty for a single entry."""
    if count == 1 and not position:
        return [""]
    return [f"{position or 'images'}[{number}]" for number in range(count)]


def _list_path(name: str | Path, position: str) -> list[Any]:
    """The images of a file, folder, pattern or address."""
    if isinstance(name, str) and not name.strip():
        where = f" ({position})" if position else ""
        raise DataError(f"the name of an image is empty{where}; for the images of the working directory give '.'")
    path = Path(name)
    if path.suffix.lower() in SUFFIXES and path.is_file():
        return [path]
    if is_address(str(name)):
        return [name]
    where = f" ({position}, taken for a path)" if position else ""
    if path.is_dir():
        images = _files_among(path.rglob("*"), SUFFIXES)
        if not images:
            raise DataError(
                f"{path}: no image in this folder ({_KNOWN_SUFFIXES}; pass videos by name or by a pattern){where}"
            )
        return list(images)
    if path.exists():
        return [path]
    if has_magic(str(name)):
        return list(_matching(str(name), where))
    if "://" in str(name):
        raise DataError(
            f"{name}: no such address{where}; images come from http:// and https://, streams also from rtsp://"
        )
    raise DataError(f"{path}: no such image, video or folder{where}")


def _matching(pattern: str, where: str) -> list[Path]:
    """The images and videos that match a pattern, sorted by name."""
    paths = [Path(name) for name in glob(pattern, recursive=True)]  # noqa: PTH207  # Path.glob takes no absolute ones
    images = _files_among(paths, SUFFIXES | VIDEO_SUFFIXES)
    if not images:
        problem = f"matches {len(paths)} files or folders, but no image or video" if paths else "matches nothing"
        suffixes = ", ".join(sorted(SUFFIXES | VIDEO_SUFFIXES))
        raise DataError(f"{pattern}: this pattern {problem} (supported: {suffixes}){where}")
    return images


def _files_among(paths: Iterable[Path], suffixes: Container[str]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in suffixes and path.is_file())


_KNOWN_SUFFIXES = f"supported: {', '.join(sorted(SUFFIXES))}"


def _is_image_url(address: str, ask: bool) -> bool:
    if address.partition("://")[0].lower() not in ("http", "https"):
        return False
    suffix = url_suffix(address)
    if suffix in SUFFIXES or suffix in STREAM_SUFFIXES:
        return suffix in SUFFIXES
    if not ask:
        return True
    try:
        return content_type(address).startswith("image/")
    except DataError:  # some cameras send responses that only OpenCV understands
        return False


def _expanded(sources: Iterable[Any]) -> Iterator[Any]:
    for source in sources:
        try:
            if isinstance(source, Camera):
                yield from source.frames()
            elif isinstance(source, Video):
                yield from _in_thread(source.frames())
            else:
                yield source
        except DataError as error:
            yield Unreadable(source.name if isinstance(source, Camera) else str(source.path), error)


def _in_thread(items: Generator[Item, None, None]) -> Iterator[Item]:
    """The same items, produced in a thread, with a few prefetched."""
    end: Any = object()
    with (
        closing(items),
        closing(
            prefetch(lambda _: next(items, end), repeat(None), threads=1, max_pending=PREFETCHED_FRAMES)
        ) as prefetched,
    ):
        yield from takewhile(lambda item: item is not end, prefetched)
