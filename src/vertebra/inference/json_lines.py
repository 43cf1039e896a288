"""Results as JSON lines, written as they come, so that a job that was killed goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from vertebra.errors import DataError
from vertebra.inference.live import is_live

BEGINS = b'{"image": '  # every line that is written here


class JsonLines:
    """A file with an object a line, one for each image, or for each frame of a video.

    What a file holds already is kept; a last line that was cut off in writing is taken away.

    Args:
        path: the file; it need not exist.

    Attributes:
        done: the images that stand in it.
        frames: of videos, the numbers of the frames that stand in it.
        live: how many frames of live sources stand in it.

    Raises:
        DataError: the file holds something else.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.done: set[str] = set()
        self.frames: dict[str, set[int]] = {}
        self.live = 0
        whole = 0
        if path.exists():
            with path.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    if not line.endswith(b"\n"):
                        _check_cut_off(path, number, line)
                        break
                    self._note(_parsed(path, number, line))
                    whole += len(line)
        self._file = path.open("ab")
        self._file.truncate(whole)

    def __len__(self) -> int:
        """Number of images and frames in the file."""
        return len(self.done) + self.live + sum(map(len, self.frames.values()))

    def has(self, image: str, frame: int | None = None) -> bool:
        """Whether an image, or a frame of a video, stands in the file."""
        return image in self.done if frame is None else frame in self.frames.get(image, ())

    def write(self, result: dict[str, Any]) -> None:
        """Adds one line, at once: it is on the disk's way when this returns."""
        self._file.write(json.dumps(result).encode() + b"\n")
        self._file.flush()
        self._note(result)

    def rows(self) -> Iterator[dict[str, Any]]:
        """What stands in the file, line by line."""
        with self.path.open("rb") as lines:
            yield from map(json.loads, lines)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _note(self, result: dict[str, Any]) -> None:
        if "frame" in result and is_live(str(result["image"])):
            self.live += 1
        elif "frame" in result:
            self.frames.setdefault(str(result["image"]), set()).add(int(result["frame"]))
        else:
            self.done.add(str(result["image"]))


def _check_cut_off(path: Path, number: int, line: bytes) -> None:
    """Whether the last line, which has no end, is what is left of one that was written here."""
    begun = BEGINS[: len(line)]
    if not line.startswith(begun):
        raise _foreign(path, number)


def _parsed(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(line)
        str(result["image"]), int(result.get("frame", 0))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _foreign(path, number) from None
    return result


def _foreign(path: Path, number: int) -> DataError:
    return DataError(f"{path}: line {number} is no prediction; give a new file, or one that this command has written")
