"""Safe reading and writing of ``.pt2`` files, which are zip archives, without torch.

``torch.export.load`` unpickles some members and loads others as compiled libraries. It never receives the original file: the
program (JSON), the tensors (plain numbers) and the metadata are validated and copied into an archive in memory.
"""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from vertebra.errors import WeightsError
from vertebra.runtimes.model_files.metadata import KEY
from vertebra.runtimes.model_files.pt2_program import LARGEST, UnsafeFile, sanitize_program

PROGRAM = "models/model.json"
SAMPLES = "data/sample_inputs/model.pt"
METADATA = f"extra/{KEY}"
TABLES = {"weights": "weight", "constants": "tensor"}  # folders of tensors, and the prefix of the names in them
PLAIN = frozenset(
    {"archive_format", "archive_version", "byteorder", ".data/version", ".data/serialization_id", ".format_version"}
    | {".storage_alignment"}
)
TENSOR = re.compile(r"data/(weights/weight|constants/tensor)_\d{1,7}")
ROOT = "model"
LARGEST_TEXT = 2**27  # bytes of a program, or of a table of tensors
BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 2, 7: 4, 8: 8, 12: 1, 13: 2}  # of a number, by torch's type of tensors
STRIDED = 7  # torch's plain layout


def read_members(path: Path) -> dict[str, bytes]:
    """The members of a file, by name within the archive's root folder.

    Raises:
        WeightsError: the file is missing or damaged, or contains a member that Vertebra does not write.
    """
    return _read(path)


def _read(path: Path, only: str = "") -> dict[str, bytes]:
    """The members of a file, or only one of them."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    with path.open("rb") as file:
        return _members(path, file, only)


def _members(path: Path, file: BinaryIO, only: str) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(file) as archive:
            names = _names(archive.infolist(), path.stat().st_size)
            return {name: archive.read(info) for name, info in names.items() if only in ("", name)}
    except UnsafeFile as error:
        raise refusal(path, error) from None
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        ValueError,
        RuntimeError,
        EOFError,
        OverflowError,
        OSError,
    ) as error:
        # RuntimeError: encrypted, or compressed in a way that Python does not know; OSError: an offset before the file's beginning
        raise WeightsError(f"{path}: damaged, or not a .pt2 file ({error}); export the model again") from None


def refusal(path: Path, error: UnsafeFile) -> WeightsError:
    """The error for a file with unexpected contents."""
    return WeightsError(f"{path}: not loaded, {error}; export the model again with vertebra export")


def read_metadata(path: Path) -> str | None:
    """The metadata of a file, or None; of the other members only names and sizes are checked."""
    try:
        content = _read(path, METADATA).get(METADATA)
        return None if content is None else content.decode()
    except UnicodeDecodeError:
        raise WeightsError(f"{path}: its metadata is damaged; export the model again") from None


def sanitized_copy(path: Path) -> io.BytesIO:
    """A validated copy of a file, in memory, for ``torch.export.load``.

    Raises:
        WeightsError: see `read_members`; or the program or its tensors are invalid.
    """
    members = read_members(path)
    try:
        _check_samples(members.pop(SAMPLES, b""))
        members[PROGRAM] = sanitize_program(_member(members, PROGRAM))
        for folder, prefix in TABLES.items():
            _check_tensors(members, folder, prefix)
    except UnsafeFile as error:
        raise refusal(path, error) from None
    target = io.BytesIO()
    write_archive(target, members)
    target.seek(0)
    return target


def rewrite_archive(path: Path, metadata: str) -> None:
    """Rewrites a file of ``torch.export.save`` without sample inputs, guards and stack traces, and with metadata.

    Raises:
        WeightsError: it contains something that Vertebra would not load.
    """
    members = read_members(path)
    members.pop(SAMPLES, None)
    try:
        members[PROGRAM] = sanitize_program(_member(members, PROGRAM))
    except UnsafeFile as error:
        raise refusal(path, error) from None
    members[METADATA] = metadata.encode()
    with path.open("wb") as file:
        write_archive(file, members)


def write_archive(target: Any, members: dict[str, bytes]) -> None:
    """Writes an uncompressed archive without sample inputs; ``members`` is emptied meanwhile, to save memory."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in list(members):
            archive.writestr(_entry(name), members.pop(name))
        archive.writestr(_entry(SAMPLES), b"")  # torch expects this member


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(f"{ROOT}/{name}")  # dated 1980, so that the same model gives the same file


def _names(infos: list[zipfile.ZipInfo], size: int) -> dict[str, zipfile.ZipInfo]:
    """The members by name within the one root folder."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        root, _, name = info.filename.partition("/")
        if name in members or root != infos[0].filename.partition("/")[0]:
            raise UnsafeFile(f"it contains '{info.filename}' outside its folder or twice")
        if name not in PLAIN | {PROGRAM, SAMPLES, METADATA} and not _is_table(name) and not TENSOR.fullmatch(name):
            raise UnsafeFile(f"it contains '{info.filename}', which exported models do not contain")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise UnsafeFile(f"'{info.filename}' in it is compressed")
        if (_is_table(name) or name == PROGRAM) and info.file_size > LARGEST_TEXT:
            raise UnsafeFile(f"'{info.filename}' in it is too large")
        members[name] = info
    if sum(info.file_size for info in infos) > size:
        raise UnsafeFile("its members overlap")
    return members


def _is_table(name: str) -> bool:
    return name in {_table(folder) for folder in TABLES}


def _table(folder: str) -> str:
    """The member that maps tensors to the members of a folder."""
    return f"data/{folder}/model_{folder}_config.json"


def _member(members: dict[str, bytes], name: str) -> bytes:
    if name not in members:
        raise UnsafeFile(f"it has no '{name}'")
    return members[name]


def _check_samples(pickled: bytes) -> None:
    """Files of older exports contain sample inputs, a pickle: dropped if it holds tensors alone, else refused."""
    if not pickled:
        return
    import torch

    try:
        torch.load(io.BytesIO(pickled), weights_only=True)
    except Exception:  # torch may raise anything
        raise UnsafeFile(f"'{SAMPLES}' in it is a pickle that could run code") from None


def _check_tensors(members: dict[str, bytes], folder: str, prefix: str) -> None:
    """Checks that each tensor of a table is stored as plain numbers and within its member."""
    try:
        table = json.loads(_member(members, _table(folder)))["config"]
        for name, entry in table.items():
            if entry["use_pickle"] or not re.fullmatch(rf"{prefix}_\d{{1,7}}", entry["path_name"]):
                raise UnsafeFile(f"'{name}' in it is a pickle, which could run code")
            if re.fullmatch(r"[\w.]+", name) is None:
                raise UnsafeFile("it contains a tensor with an invalid name")
            _check_extent(name, entry["tensor_meta"], len(_member(members, f"data/{folder}/{entry['path_name']}")))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise error if isinstance(error, UnsafeFile) else UnsafeFile(f"its table of {folder} is damaged") from error


def _check_extent(name: str, metadata: dict[str, Any], size: int) -> None:
    shape, strides = ([_whole(side) for side in metadata[key]] for key in ("sizes", "strides"))
    step = BYTES.get(metadata["dtype"])
    if (
        step is None
        or metadata["layout"] != STRIDED
        or metadata["device"]["type"] != "cpu"
        or len(shape) != len(strides)
    ):
        raise UnsafeFile(f"the tensor '{name}' in it is not a plain tensor on the CPU")
    last = _whole(metadata["storage_offset"]) + sum(
        (side - 1) * stride for side, stride in zip(shape, strides, strict=True)
    )
    if 0 not in shape and (last + 1) * step > size:
        raise UnsafeFile(f"the tensor '{name}' in it reaches beyond its numbers")


def _whole(value: dict[str, Any]) -> int:
    number = value["as_int"]
    if type(number) is not int or not 0 <= number < LARGEST:
        raise UnsafeFile("a tensor in it has an invalid size")
    return number
