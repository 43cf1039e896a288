"""Images in the rows of Arrow files, as Hugging Face's ``datasets`` writes them.

The files are memory-mapped, so that a row is read without the others, and processes share them.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

from vertebra.errors import DataError, first_line, install_command
from vertebra.shards.member_table import archive_stamp

KEPT = 256  # open files
_opened: OrderedDict[tuple[str, tuple[int, int]], Any] = OrderedDict()


def arrow_table(file: str | Path) -> Any:
    """The table of an Arrow file, in the form for streams or for files; memory-mapped.

    Raises:
        DataError: it is missing or damaged, or pyarrow is not installed.
    """
    key = (str(file), archive_stamp(str(file)))
    if key not in _opened:
        _opened[key] = _open(str(file))
        while len(_opened) > KEPT:
            _opened.popitem(last=False)
    return _opened[key]


def read_cell(file: str, inner: str) -> bytes:
    """The bytes of an image in a row.

    Args:
        file: an Arrow file.
        inner: its column and row, as ``image/12.jpg``.

    Raises:
        DataError: the file is damaged, or has no such row.
    """
    column, _, name = inner.rpartition("/")
    row = name.partition(".")[0]
    table = arrow_table(file)
    if column not in table.column_names or not row.isdecimal() or int(row) >= table.num_rows:
        raise DataError(f"{file}/{inner}: there is no such column or row")
    try:
        cell = table[column][int(row)].as_py()
    except Exception as error:  # of any kind: damaged offsets
        raise DataError(f"{file}/{inner}: damaged ({first_line(error)})") from None
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(content, bytes):
        raise DataError(f"{file}/{inner}: this cell holds no image")
    return content


def _open(file: str) -> Any:
    try:
        import pyarrow as pa
    except ImportError:
        raise DataError(f"{file}: Arrow files need pyarrow: {install_command('parquet')}") from None
    try:
        mapped = pa.memory_map(file)
        try:
            table = pa.ipc.open_stream(mapped).read_all()
        except pa.ArrowInvalid:
            mapped.seek(0)
            table = pa.ipc.open_file(mapped).read_all()
        table.validate(full=True)  # a wrong offset would end the process when a row is read
        return table
    except Exception as error:  # of any kind: pyarrow raises many on damaged files
        raise DataError(f"{file}: damaged, or no Arrow file ({first_line(error)}); copy it again") from None
