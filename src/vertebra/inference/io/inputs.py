"""What a user means, images, videos and cameras, as one stream of images and frames; without torch."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import groupby, repeat, takewhile
from pathlib import Path
from typing import Any, TypeVar

from vertebra.errors import ConfigError, DataError
from vertebra.inference.io.prefetch import prefetch
from vertebra.inference.io.streams import Camera, is_live_stream
from vertebra.inference.io.video import Video, is_video
from vertebra.inference.results import Unreadable

Item = TypeVar("Item")
FRAMES_AHEAD = 2


def as_source(item: Any) -> Any:
    """A `Video` or `Camera` where a file's name or an address means one; anything else stays as it is."""
    if isinstance(item, str) and is_live_stream(item):
        return Camera(item)
    if isinstance(item, str | Path) and is_video(item):
        return Video(Path(item))
    return item


def runs(items: Iterable[Any]) -> Iterator[tuple[bool, Iterator[Any]]]:
    """Images and frames in their order, in runs of what is live and what is not.

    Yields:
        Whether a run is live, and its images, `VideoFrame`, or an `Unreadable` in place of a source that cannot be read.
    """
    for live, sources in groupby(map(as_source, items), key=lambda source: isinstance(source, Camera)):
        yield live, _unrolled(sources)


def check_ends(items: Iterable[Any]) -> None:
    """Whether a list of all results can be had.

    Raises:
        ConfigError: there is a camera or stream, which has no end.
    """
    for item in items:
        source = as_source(item)
        if isinstance(source, Camera):
            raise ConfigError(f"{source.name}: a live source has no end; take its results one by one, with stream()")


def expected(sources: Iterable[Any]) -> int | None:
    """How many results will come of sources (see `as_source`) that are readable, as far as files tell; None where one has no
    end or does not tell.
    """
    counts = [
        None if isinstance(source, Camera) else source.count() if isinstance(source, Video) else 1 for source in sources
    ]
    return None if None in counts else sum(count or 0 for count in counts)


def _unrolled(sources: Iterable[Any]) -> Iterator[Any]:
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
    """The same items, made in a thread; a few are made ahead."""
    end: Any = object()
    with (
        closing(items),
        closing(prefetch(lambda _: next(items, end), repeat(None), threads=1, most=FRAMES_AHEAD)) as made,
    ):
        yield from takewhile(lambda item: item is not end, made)
