"""CelebA's lists as published, and the published lists of the splits beside a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from vertebra.annotations.notes import Note
from vertebra.data.readers.files import lines_of
from vertebra.data.readers.split_lists import list_files
from vertebra.data.readers.table_files import Table
from vertebra.data.readers.table_values import PARTITION

PARTITION_FILE = "list_eval_partition"


def celeba_table(file: Path, head: bool) -> Table | None:
    """CelebA's list: the number of rows, the names of columns, then a row for each image; None for other files."""
    try:
        with file.open(encoding="utf-8-sig") as opened:
            first = opened.readline(100).strip()
            if not first.isdecimal():
                return None
            lines = [line.split() for line in (opened.readlines(1 << 16) if head else opened) if line.strip()]
    except (OSError, UnicodeDecodeError):
        return None
    if len(lines) < 2 or len(lines[1]) not in (len(lines[0]), len(lines[0]) + 1):
        return None
    names = ("image", *lines[0]) if len(lines[1]) == len(lines[0]) + 1 else tuple(lines[0])
    body = [line for line in lines[1:] if len(line) == len(names)]
    notes: list[Note] = []
    if len(body) < len(lines) - 1:
        notes.append(Note.of("row", f"of {file.name} of another length", "dropped", [], len(lines) - 1 - len(body)))
    if not head and int(first[:18]) != len(body):
        notes.append(Note.of("row", f"in {file.name}, whose first line is {first[:18]},", "read", [], len(body)))
    return Table(file, names, [list(column) for column in zip(*body, strict=True)], notes)


def published_splits(file: Path, names: Sequence[str], notes: list[Note]) -> list[str]:
    """The split of each image in the published lists beside a table: CelebA's ``list_eval_partition``, also in the folder ``Eval``,
    or ``train_val_list.txt``, ``test_list.txt`` and the like; empty without such lists.

    Args:
        file: the table.
        names: of the images in it.
        notes: gets a note about the lists.
    """
    lists = [top / inner for top in (file.parent, file.parent.parent) for inner in ("", "Eval")]
    for partition in (folder / f"{PARTITION_FILE}{suffix}" for folder in lists for suffix in (".txt", ".csv")):
        if partition.is_file():
            text = partition.read_text(encoding="utf-8-sig", errors="replace").replace(",", " ")
            rows = [words for line in text.splitlines() if len(words := line.split()) == 2]
            codes = {name: PARTITION[code] for name, code in rows if code in PARTITION}
            count = len(set(codes.values()))
            notes.append(Note.of("split", "of the images", "taken from a published list", [partition.name], count))
            return [codes.get(name, "") for name in names]
    return _listed_splits(file, names, notes)


def _listed_splits(file: Path, names: Sequence[str], notes: list[Note]) -> list[str]:
    """The split of each image in the lists of names beside a table; empty if none of them names an image of it."""
    known = {PurePosixPath(name).stem: name for name in names}
    splits: dict[str, str] = {}
    used: list[str] = []
    lists = list_files(file.parent, (".",))
    for split, each in lists.items():
        stems = [PurePosixPath(line.strip()).stem for line in lines_of(each)] if each != file else []
        named = {known[stem]: split for stem in stems if stem in known}
        splits |= named
        used += [each.name] * bool(named)
    if used:
        notes.append(Note.of("split", "of the images", "taken from a published list", used))
    return [splits.get(name, "") for name in names] if used else []
