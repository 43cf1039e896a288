"""Lists of files: a name a line, with or without ending, folders, or a flag behind it; names may have spaces."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vertebra.errors import DataError

MOST_WORDS = 12  # behind a name in a line
ENDINGS = 8  # letters of the longest ending


class FileNames:
    """Files that lists name.

    Args:
        files: by their path without ending, relative to the folder that lists are most likely relative to.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        folded = {key: _folded(key) for key in files}
        stems = Counter(_folded(key.rpartition("/")[2]) for key in files)
        counts = Counter(folded.values())
        self._files = dict(files)
        self._folded = {folded[key]: file for key, file in files.items() if counts[folded[key]] == 1}
        self._stems = {stem: file for key, file in files.items() if stems[stem := _folded(key.rpartition("/")[2])] == 1}

    def match(self, name: str) -> Path | None:
        """The file of a name: whole, then without its ending, without its first folders, and by its last part alone."""
        for form in (name, _without_ending(name)) if "\\" in name else ():  # it may be part of the file's name
            exact = self._files.get(form) or self._stems.get(_folded(form))
            if exact is not None:
                return exact
        name = name.replace("\\", "/")
        for form in _forms(name):
            file = self._files.get(form) or self._folded.get(_folded(form))
            if file is not None:
                return file
        for form in (name, _without_ending(name)):
            file = self._stems.get(_folded(form.rpartition("/")[2]))
            if file is not None:
                return file
        return None


@dataclass(frozen=True)
class Listed:
    """What a list names.

    Attributes:
        files: in the list's order, copies included.
        unknown: names of no file.
    """

    files: list[Path]
    unknown: list[str]


def read_names(file: Path, lines: Sequence[str], names: FileNames) -> Listed:
    """The files that a list names; lines that end in -1 do not belong to it, as in VOC's lists of a class.

    Each line is searched whole, then without the words behind the name (``cat_1 1``, ``images/1.jpg annotations/1.xml``).

    Raises:
        DataError: it has lines, and none names a file.
    """
    files: list[Path] = []
    unknown: list[str] = []
    excluded = 0
    for line in map(str.strip, lines):
        if not line or line.startswith("#"):
            continue
        file_of_line, behind = _look_up(line, names)
        if behind == "-1":
            excluded += 1
        elif file_of_line is None:
            unknown.append(line)
        else:
            files.append(file_of_line)
    if unknown and not files and not excluded:
        raise DataError(
            f"{file}: none of its {len(unknown)} lines names a file of this data set (the first is '{unknown[0][:80]}'); "
            "write a name a line, or remove the list"
        )
    return Listed(files, unknown)


def _look_up(line: str, names: FileNames) -> tuple[Path | None, str]:
    """The file of a line, and the words behind its name."""
    words = line.split()
    for count in range(min(len(words), MOST_WORDS)):
        behind = words[len(words) - count :]
        name = line
        for word in reversed(behind):
            name = name[: name.rindex(word)].rstrip()
        file = names.match(name)
        if file is not None:
            return file, " ".join(behind)
    return None, "-1" if words[1:] == ["-1"] else ""


def _forms(name: str) -> Iterator[str]:
    """A path, and the path without its ending; then both without the first folder, the second …"""
    rest = name
    while rest:
        yield rest
        yield _without_ending(rest)
        rest = rest.partition("/")[2]


def _without_ending(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return stem if dot and 0 < len(ending) <= ENDINGS and "/" not in ending and " " not in ending else name


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
