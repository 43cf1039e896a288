"""Reads tables: CSV, TSV, JSON lines and Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vertebra.annotations.notes import Note
from vertebra.errors import DataError, install_command
from vertebra.preprocess.images import SUFFIXES as IMAGE_SUFFIXES

TEXT_SUFFIXES = (".csv", ".tsv")
LINE_SUFFIXES = (".jsonl", ".ndjson")
PARQUET_SUFFIXES = (".parquet", ".pq")
SUFFIXES = (*TEXT_SUFFIXES, *LINE_SUFFIXES, *PARQUET_SUFFIXES)
SEPARATORS = (",", ";", "\t", "|")
METADATA = "metadata.jsonl"  # of image folders of Hugging Face's datasets
HEAD = 1 << 16  # bytes that show what a table holds
HEAD_ROWS = 50
MOST_COLUMNS = 100_000
FIRST_NAMES = frozenset({"image", "imageid", "imagepath", "filename", "filepath", "file", "path", "id", "img"})


@dataclass(frozen=True)
class Table:
    """The cells of a file.

    Attributes:
        file: the file.
        names: of the columns; None without a header.
        columns: the cells of each column, text or values; "" and None are empty.
        notes: problems that were handled.
    """

    file: Path
    names: tuple[str, ...] | None
    columns: list[list[Any]]
    notes: list[Note] = field(default_factory=list)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.columns[0]) if self.columns else 0

    def title(self, column: int) -> str:
        """A column's name, or its number from 0."""
        return str(column) if self.names is None else self.names[column]


def read_table(file: Path, head: bool = False) -> Table:
    """A table.

    Args:
        file: CSV, TSV, JSON lines or Parquet, by its ending; any other ending is taken for CSV.
        head: only its first rows, `HEAD_ROWS` of Parquet, or those in the first `HEAD` bytes.

    Raises:
        DataError: it is damaged, has no row, or needs a package that is not installed.
    """
    if file.suffix.lower() in PARQUET_SUFFIXES:
        return _parquet(file, head)
    notes: list[Note] = []
    try:
        with file.open("rb") as opened:
            content = opened.read(HEAD) if head else opened.read()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    text = _decoded(content, file, notes)
    if head and len(content) == HEAD:
        text = text[: text.rfind("\n") + 1] or text
    if file.suffix.lower() in LINE_SUFFIXES:
        return _json_lines(file, text, notes)
    return _cells(file, text, notes)


def normal_name(name: str) -> str:
    """A column's name without case and separators: "X_Min" is "xmin"."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def cell_text(value: Any) -> str:
    """A cell as text; a whole number without a point."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.strip() if isinstance(value, str) else str(value)


def _decoded(content: bytes, file: Path, notes: list[Note]) -> str:
    """Text in UTF-8 or UTF-16, or else in Latin 1 with a note.

    Raises:
        DataError: it is no text.
    """
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    if not wide and b"\0" in content[:1000]:
        odd, even = content[1:1000:2].count(0), content[0:1000:2].count(0)
        if max(odd, even) < 0.2 * len(content[:1000]):
            raise DataError(f"{file}: not a text file; copy it again, or save the table as CSV in UTF-8")
        content, wide = (b"\xff\xfe" if odd > even else b"\xfe\xff") + content, True
    try:
        if wide:
            return content[: len(content) // 2 * 2].decode("utf-16")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if wide:
            raise DataError(f"{file}: damaged, not text in UTF-16 ({error.reason}); save it as UTF-8") from None
        if error.start >= len(content) - 4 and len(content) == HEAD:  # a letter that the head cuts
            return content[: error.start].decode("utf-8-sig")
    notes.append(Note.of("table", "that is not UTF-8", "read as Latin 1 (Windows 1252)", [file.name]))
    return content.decode("cp1252", "replace")


def _cells(file: Path, text: str, notes: list[Note]) -> Table:
    """A table of cells, with its separator found out."""
    separator = "\t" if file.suffix.lower() == ".tsv" and "\t" in text else _separator(text)
    try:
        rows = [
            row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if any(map(str.strip, row))
        ]
    except csv.Error as error:
        raise DataError(f"{file}: damaged, no table of cells ({error}); copy the file again") from None
    if not rows:
        raise DataError(f"{file}: this table is empty")
    names = tuple(name.strip() for name in rows[0]) if _is_header(rows[0]) else None
    body = rows[1:] if names is not None else rows
    count = len(names) if names is not None else max(map(len, rows[:100]))
    if count > MOST_COLUMNS:
        raise DataError(f"{file}: {count} columns are no table of images")
    fitting = [row for row in body if len(row) <= count or not any(map(str.strip, row[count:]))]
    if len(fitting) < len(body):
        wrong = [" ".join(row[:1])[:60] for row in body if len(row) > count and any(map(str.strip, row[count:]))]
        notes.append(Note.of("row", f"of more cells than {file.name} has columns", "dropped", wrong))
    padded = (row[:count] + [""] * (count - len(row)) for row in fitting)
    columns = [list(column) for column in zip(*padded, strict=True)] or [[] for _ in range(count)]
    return Table(file, names, columns, notes)


def _separator(text: str) -> str:
    """The separator with which the first lines have most cells, alike in each."""
    lines = [line for line in text[:HEAD].splitlines()[:20] if line.strip()]

    def score(separator: str) -> tuple[float, int]:
        try:
            counts = [len(row) for row in csv.reader(lines, delimiter=separator)]
        except csv.Error:
            return (0.0, 0)
        usual = max(set(counts), key=counts.count) if counts else 1
        return (counts.count(usual) / len(counts), usual) if usual > 1 else (0.0, 0)

    return max(SEPARATORS, key=score)


def _is_header(row: Sequence[str]) -> bool:
    """Whether a first row names columns: no cell is a number or an image's name, or the first is a name for images."""
    if normal_name(row[0]) in FIRST_NAMES or (not row[0].strip() and row[1:] == [str(n) for n in range(len(row) - 1)]):
        return True  # the second as pandas writes columns without names
    return not any(_is_value(cell.strip()) for cell in row) and any(cell.strip() for cell in row)


def _is_value(cell: str) -> bool:
    if Path(cell).suffix.lower() in IMAGE_SUFFIXES:
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _json_lines(file: Path, text: str, notes: list[Note]) -> Table:
    """An object on each line; those of an object ``objects`` count as its own."""
    entries: list[dict[str, Any]] = []
    damaged: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if isinstance(entry, dict):
            entries.append(_flat(entry, file.name == METADATA))
        else:
            damaged.append(f"line {number}")
    if not entries:
        raise DataError(f"{file}: no line of it is a JSON object in braces")
    if damaged:
        notes.append(Note.of("line", f"of {file.name} that is no JSON object", "dropped", damaged))
    return _of_entries(file, entries, notes)


def _of_entries(file: Path, entries: Sequence[dict[str, Any]], notes: list[Note]) -> Table:
    names = tuple(dict.fromkeys(name for entry in entries for name in entry))
    if not names or len(names) > MOST_COLUMNS:
        raise DataError(f"{file}: {len(names)} columns are no table of images")
    return Table(file, names, [[entry.get(name) for entry in entries] for name in names], notes)


def _flat(entry: dict[str, Any], of_datasets: bool = False) -> dict[str, Any]:
    """An object with the values of its ``objects``; their ``bbox`` is left, top, width and height in the file of `datasets`."""
    inner = entry.get("objects")
    if isinstance(inner, list) and inner and all(isinstance(each, dict) for each in inner):
        inner = {key: [each.get(key) for each in inner] for key in dict.fromkeys(key for each in inner for key in each)}
    if not isinstance(inner, dict):
        return entry
    named = {"xywh" if of_datasets and key == "bbox" else key: value for key, value in inner.items()}
    return {**{key: value for key, value in entry.items() if key != "objects"}, **named}


def _parquet(file: Path, head: bool) -> Table:
    try:
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"{file}: Parquet files need pyarrow: {install_command('parquet')}") from None
    try:
        with parquet.ParquetFile(file) as opened:
            batches = opened.iter_batches(batch_size=HEAD_ROWS if head else 1 << 16)
            entries = (
                [entry for batch in batches for entry in batch.to_pylist()] if not head else next(batches).to_pylist()
            )
    except StopIteration:
        entries = []
    except Exception as error:  # pyarrow raises several types on damaged files
        raise DataError(f"{file}: damaged, not a Parquet file ({str(error)[:80]}); copy it again") from None
    if not entries:
        raise DataError(f"{file}: this table is empty")
    return _of_entries(file, [_flat(entry) for entry in entries], [])
