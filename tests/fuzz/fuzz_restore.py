"""A copy of a sound input that is damaged again and again, and in between restored where it was changed."""

from __future__ import annotations

import os
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path

AGE = (
    3600 * 10**9
)  # nanoseconds since the sound files were written: readers keep the listings of folders that have settled


@dataclass(frozen=True)
class _Entry:
    """What a path is: of a folder or a link the numbers are 0, for only its existence counts."""

    kind: int
    size: int = 0
    modified: int = 0


class Trial:
    """A folder with the files of a sound input.

    Args:
        sound: the folder with the sound input, which stays as it is.
        folder: its copy, which does not exist yet.
    """

    def __init__(self, sound: Path, folder: Path) -> None:
        self._sound, self._folder = sound, folder
        self._entries: dict[str, _Entry] = {}
        self._content: dict[str, bytes] = {}
        self._settled = time.time_ns() - AGE
        self._copy()

    def stamp(self, number: int) -> None:
        """Sets the time of each damaged file to one that no other input has, so that nothing kept of another one is used."""
        for name in self._changed(_entries(self._folder)):
            os.utime(Path(self._folder, name), ns=(self._settled, self._settled + number + 1), follow_symlinks=False)

    def restore(self) -> None:
        """Makes the folder as the sound one: writes the changed files, and all of them where names or folders changed."""
        entries = _entries(self._folder)
        if {name: entry.kind for name, entry in entries.items()} != {
            name: entry.kind for name, entry in self._entries.items()
        }:
            shutil.rmtree(self._folder)
            self._copy()
            return
        for name in self._changed(entries):
            path = Path(self._folder, name)
            path.write_bytes(self._content[name])
            os.utime(path, ns=(self._settled, self._settled))

    def _changed(self, entries: dict[str, _Entry]) -> list[str]:
        return [
            name for name, entry in entries.items() if stat.S_ISREG(entry.kind) and entry != self._entries.get(name)
        ]

    def _copy(self) -> None:
        shutil.copytree(self._sound, self._folder, symlinks=True)
        for folder, inner, names in os.walk(self._folder, topdown=False):
            for name in (*inner, *names, "."):
                os.utime(Path(folder, name), ns=(self._settled, self._settled), follow_symlinks=False)
        self._entries = _entries(self._folder)
        files = [name for name, entry in self._entries.items() if stat.S_ISREG(entry.kind)]
        self._content = {name: Path(self._sound, name).read_bytes() for name in files}


def _entries(folder: Path) -> dict[str, _Entry]:
    """All that is in a folder and those below, by its path in it."""
    entries: dict[str, _Entry] = {}
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(f"{folder}/{below}") as found:
            for entry in found:
                status = entry.stat(follow_symlinks=False)
                name = f"{below}/{entry.name}" if below else entry.name
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(name)
                regular = stat.S_ISREG(status.st_mode)
                numbers = (status.st_size, status.st_mtime_ns) if regular else (0, 0)
                entries[name] = _Entry(stat.S_IFMT(status.st_mode), *numbers)
    return entries
