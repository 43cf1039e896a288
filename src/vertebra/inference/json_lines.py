"""Results as JSON lines, written as they come, so that a job that was killed goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from vertebra.errors import DataError


class JsonLines:
    """A file with an object a line, one for each image.

    What a file holds already is kept; a last line that was cut off in writing is taken away.

    Args:
        path: the file; it need not exist.

    Raises:
        DataError: the file holds something else.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.done: set[str] = set()
        whole = 0
        if path.exists():
            with path.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    if not line.endswith(b"\n"):
                        break
                    self.done.add(_image_of(path, number, line))
                    whole += len(line)
        self._file = path.open("ab")
        self._file.truncate(whole)

    def write(self, result: dict[str, Any]) -> None:
        """Adds one line, at once: it is on the disk's way when this returns."""
        self._file.write(json.dumps(result).encode() + b"\n")
        self._file.flush()
        self.done.add(str(result["image"]))

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _image_of(path: Path, number: int, line: bytes) -> str:
    try:
        return str(json.loads(line)["image"])
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"{path}: line {number} is no prediction; give a new file, or one that this command has written"
        ) from None
