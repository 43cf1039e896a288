"""The files of a Hugging Face data set: Arrow files that ``save_to_disk`` writes, or Parquet files as on the hub."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vertebra.annotations.notes import Note
from vertebra.data.readers.files import files_of, folders_in
from vertebra.data.readers.hub import hub_files, is_hub_name
from vertebra.data.splits import split_of
from vertebra.errors import DataError, first_line, install_command
from vertebra.files import cache_folder, replacing
from vertebra.shards.arrow_rows import arrow_table
from vertebra.shards.member_table import archive_stamp, cache_key

INFO, STATE, DICT = "dataset_info.json", "state.json", "dataset_dict.json"
METADATA = b"huggingface"


@dataclass
class HfFiles:
    """The files of a data set.

    Attributes:
        root: folder that image files of their own are relative to; None if they may be anywhere, as in the cache of the hub.
        parts: pairs of a split, "" for none, and an Arrow file.
        features: the types of the columns, as `datasets` names them.
        notes: what was done with the files.
    """

    root: Path | None
    parts: list[tuple[str, Path]]
    features: Mapping[str, Any]
    notes: list[Note] = field(default_factory=list)


def is_hf(path: Path) -> bool:
    """Whether a path is a Hugging Face data set on disk, or a name on the hub."""
    if is_hub_name(path):
        return True
    if path.is_file():
        return _is_parquet(path)
    if not path.is_dir():
        return False
    if (path / DICT).is_file() or ((path / INFO).is_file() and (path / STATE).is_file()):
        return True
    first = next(iter(_parquet_files(path)), None)
    return first is not None and _is_parquet(first)


def hf_splits(path: Path) -> list[str]:
    """The split of each file, "" for none; nothing is converted."""
    if is_hub_name(path):
        return list(hub_files(path))
    if path.is_file() or not ((path / DICT).is_file() or (path / STATE).is_file()):
        files = [path] if path.is_file() else _parquet_files(path)
        return [_split_in(file, path) for file in files]
    return [split for split, _ in _saved(path)]


def hf_files(path: Path, split: str | None) -> HfFiles:
    """The files of one split, or of all.

    Raises:
        DataError: a file is missing or damaged, or pyarrow is missing.
    """
    if is_hub_name(path):
        parts = [(name, file) for name, files in hub_files(path).items() for file in files]
        return _of_parts(None, parts, split)
    if (path / DICT).is_file() or (path / STATE).is_file():
        return _of_parts(path, _saved(path), split)
    files = [path] if path.is_file() else _parquet_files(path)
    named = [(_split_in(file, path), file) for file in files]
    wanted = [(name, file) for name, file in named if split is None or name == split]
    converted = [(name, _converted(file)) for name, file in wanted]
    arrow_files = _of_parts(path if path.is_dir() else path.parent, converted, None)
    names = [file.name for _, file in wanted]
    arrow_files.notes.append(Note.of("Parquet file", "", f"converted to Arrow in {cache_folder() / 'arrow'}", names))
    return arrow_files


def _of_parts(root: Path | None, parts: list[tuple[str, Path]], split: str | None) -> HfFiles:
    wanted = [(name, file) for name, file in parts if split is None or name == split]
    if not wanted:
        raise DataError(f"{root or 'this data set'}: it has no Arrow or Parquet file")
    return HfFiles(root, wanted, _features(wanted[0][1]))


def _features(file: Path) -> Mapping[str, Any]:
    """The types of the columns, from a file's own metadata, or else from the file of the data set."""
    metadata = arrow_table(file).schema.metadata or {}
    for read in (lambda: json.loads(metadata[METADATA])["info"], lambda: _json(file.parent / INFO)):
        try:
            features = read()["features"]
        except (KeyError, TypeError, ValueError, RecursionError, DataError):
            continue
        if isinstance(features, Mapping):
            return features
    return {}


def _saved(path: Path) -> list[tuple[str, Path]]:
    """The files that ``save_to_disk`` wrote, with their splits."""
    if not (path / DICT).is_file():
        return [("", file) for file in _state_files(path)]
    names = _json(path / DICT).get("splits")
    if not isinstance(names, list) or not all(
        isinstance(name, str) and re.fullmatch(r"[\w.-]+", name) for name in names
    ):
        raise DataError(f"{path / DICT}: damaged, it lists no splits; save the data set anew")
    return [(split_of(name) or "", file) for name in names for file in _state_files(path / name)]


def _state_files(folder: Path) -> list[Path]:
    state = _json(folder / STATE)
    entries = state.get("_data_files")
    names = [entry.get("filename") if isinstance(entry, Mapping) else None for entry in entries or ()]
    if not names or not all(isinstance(name, str) and name == Path(name).name for name in names):
        raise DataError(f"{folder / STATE}: damaged, it names no files beside it; save the data set anew")
    if state.get("_indices_files"):
        raise DataError(
            f"{folder}: its rows are chosen by an index of 'datasets'; call flatten_indices() and save it anew"
        )
    return [folder / str(name) for name in names]


def _json(file: Path) -> Mapping[str, Any]:
    try:
        entry = json.loads(file.read_bytes())
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise DataError(f"{file}: damaged, no JSON; save the data set anew") from None
    if not isinstance(entry, Mapping):
        raise DataError(f"{file}: damaged, no JSON object; save the data set anew")
    return entry


def _parquet_files(path: Path) -> list[Path]:
    """The Parquet files in a folder, or else in the folders one and two below."""
    folders = [path]
    for _ in range(3):
        files = [file for folder in folders for file in files_of(folder, ".parquet")]
        if files:
            return files
        folders = [inner for folder in folders for inner in folders_in(folder)]
    return []


def _split_in(file: Path, path: Path) -> str:
    """The split that a file or a folder above is named as: ``data/train-00000-of-00002.parquet``."""
    words = [re.split(r"[-_.]", file.name)[0]]
    words += [folder.name for folder in file.parents if folder != path and folder.is_relative_to(path)]
    return next((split for word in words if (split := split_of(word))), "")


def _is_parquet(file: Path) -> bool:
    """Whether a Parquet file has a column of images."""
    if file.suffix.lower() != ".parquet":
        return False
    try:
        from pyarrow import parquet

        schema = parquet.read_schema(file)
    except Exception:  # of any kind: pyarrow is missing, or raises on damaged files
        return False
    return any(is_image_type(column.type) for column in schema)


def is_image_type(kind: Any) -> bool:
    """Whether a type of Arrow is that of images: their bytes and their path."""
    from pyarrow import types

    if not types.is_struct(kind):
        return False
    names = {kind.field(number).name for number in range(kind.num_fields)}
    return {"bytes", "path"} <= names


def _converted(file: Path) -> Path:
    """A Parquet file as an Arrow file in the user's cache folder, whose rows can be read one by one.

    Raises:
        DataError: it is damaged, or pyarrow is missing.
        RunError: the cache folder cannot be written.
    """
    key = cache_key("arrow", str(file.absolute()), archive_stamp(str(file)))
    target = cache_folder() / "arrow" / key / f"{file.stem}.arrow"
    if target.is_file():
        return target
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"{file}: Parquet files need pyarrow: {install_command('parquet')}") from None
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as part:
        try:
            opened = parquet.ParquetFile(file)
            with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_stream(sink, opened.schema_arrow) as writer:
                for batch in opened.iter_batches(batch_size=100):
                    writer.write_batch(batch)
        except (pa.ArrowException, OSError, ValueError, TypeError) as error:
            raise DataError(f"{file}: damaged, or no Parquet file ({first_line(error)}); copy it again") from None
    return target
