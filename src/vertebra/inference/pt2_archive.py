"""A ``.pt2`` file, which is an archive: what may be in it, and a copy of it that holds nothing else; without torch.

``torch.export.load`` unpickles some members, and loads compiled libraries from others. So it is never given a file as it came: what
an export of Vertebra holds (a program as JSON, tensors as plain numbers, metadata) is read, checked, and put into one in memory.
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
from vertebra.inference.metadata import KEY
from vertebra.inference.pt2_program import LARGEST, Refused, clean_program

PROGRAM = "models/model.json"
SAMPLES = "data/sample_inputs/model.pt"
METADATA = f"extra/{KEY}"
TABLES = {"weights": "weight", "constants": "tensor"}  # folders of tensors, and what the names in them begin with
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
    """The members of a file by their names within its folder; only those that an export of Vertebra has.

    Raises:
        WeightsError: the file is missing, damaged, or holds anything else.
    """
    return _read(path)


def _read(path: Path, only: str = "") -> dict[str, bytes]:
    """The members of a file, or one of them if it is there."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    with path.open("rb") as file:
        return _members(path, file, only)


def _members(path: Path, file: BinaryIO, only: str) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(file) as archive:
            names = _names(archive.infolist(), path.stat().st_size)
            return {name: archive.read(info) for name, info in names.items() if only in ("", name)}
    except Refused as error:
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
        # RuntimeError: encrypted, or compressed in a way that Python does not know; OSError: a place before the file's beginning
        raise WeightsError(f"{path}: damaged, or no .pt2 file ({error}); export the model again") from None


def refusal(path: Path, error: Refused) -> WeightsError:
    """What is told of a file that holds what Vertebra does not write."""
    return WeightsError(f"{path}: not loaded, {error}; export the model again with vertebra export")


def read_metadata(path: Path) -> str | None:
    """What a file says of itself, or None; of all else only the names and sizes are looked at."""
    try:
        told = _read(path, METADATA).get(METADATA)
        return None if told is None else told.decode()
    except UnicodeDecodeError:
        raise WeightsError(f"{path}: its metadata is damaged; export the model again") from None


def checked_copy(path: Path) -> io.BytesIO:
    """A copy of a file in memory that can be given to ``torch.export.load``.

    Raises:
        WeightsError: as of `read_members`, or the program or its tensors are not what Vertebra writes.
    """
    members = read_members(path)
    try:
        _check_samples(members.pop(SAMPLES, b""))
        members[PROGRAM] = clean_program(_member(members, PROGRAM))
        for folder, prefix in TABLES.items():
            _check_tensors(members, folder, prefix)
    except Refused as error:
        raise refusal(path, error) from None
    target = io.BytesIO()
    write_archive(target, members)
    target.seek(0)
    return target


def rewrite(path: Path, metadata: str) -> None:
    """Writes a file of ``torch.export.save`` anew: without its sample inputs, guards and stack traces, and with what it says of
    itself.

    Raises:
        WeightsError: it holds what Vertebra would not load.
    """
    members = read_members(path)
    members.pop(SAMPLES, None)
    try:
        members[PROGRAM] = clean_program(_member(members, PROGRAM))
    except Refused as error:
        raise refusal(path, error) from None
    members[METADATA] = metadata.encode()
    with path.open("wb") as file:
        write_archive(file, members)


def write_archive(target: Any, members: dict[str, bytes]) -> None:
    """An archive without compression, with no sample inputs; ``members`` is emptied on the way, to spare memory."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in list(members):
            archive.writestr(_entry(name), members.pop(name))
        archive.writestr(_entry(SAMPLES), b"")  # torch asks for it


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(f"{ROOT}/{name}")  # of 1980, so that the same model gives the same file


def _names(infos: list[zipfile.ZipInfo], size: int) -> dict[str, zipfile.ZipInfo]:
    """The members by their names within the one folder."""
    found: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        root, _, name = info.filename.partition("/")
        if name in found or root != infos[0].filename.partition("/")[0]:
            raise Refused(f"it holds '{info.filename}' beside or twice in its folder")
        if name not in PLAIN | {PROGRAM, SAMPLES, METADATA} and not _is_table(name) and not TENSOR.fullmatch(name):
            raise Refused(f"it holds '{info.filename}', which an exported model does not need")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise Refused(f"'{info.filename}' in it is compressed")
        if (_is_table(name) or name == PROGRAM) and info.file_size > LARGEST_TEXT:
            raise Refused(f"'{info.filename}' in it is too large")
        found[name] = info
    if sum(info.file_size for info in infos) > size:
        raise Refused("its members overlap")
    return found


def _is_table(name: str) -> bool:
    return name in {_table(folder) for folder in TABLES}


def _table(folder: str) -> str:
    """The member that says which tensor lies in which member of a folder."""
    return f"data/{folder}/model_{folder}_config.json"


def _member(members: dict[str, bytes], name: str) -> bytes:
    if name not in members:
        raise Refused(f"it has no '{name}'")
    return members[name]


def _check_samples(pickled: bytes) -> None:
    """Files of older exports have sample inputs, a pickle. They are left out, but one that is no pickle of tensors is refused."""
    if not pickled:
        return
    import torch

    try:
        torch.load(io.BytesIO(pickled), weights_only=True)
    except Exception:  # torch raises what it meets
        raise Refused(f"'{SAMPLES}' in it is a pickle that could run code") from None


def _check_tensors(members: dict[str, bytes], folder: str, prefix: str) -> None:
    """Whether each tensor of a table is plain numbers, and lies within its member."""
    try:
        table = json.loads(_member(members, _table(folder)))["config"]
        for name, own in table.items():
            if own["use_pickle"] or not re.fullmatch(rf"{prefix}_\d{{1,7}}", own["path_name"]):
                raise Refused(f"'{name}' in it is a pickle, which could run code")
            if re.fullmatch(r"[\w.]+", name) is None:
                raise Refused("it holds a tensor with a name that is none")
            _check_place(name, own["tensor_meta"], len(_member(members, f"data/{folder}/{own['path_name']}")))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise error if isinstance(error, Refused) else Refused(f"its table of {folder} is damaged") from error


def _check_place(name: str, about: dict[str, Any], size: int) -> None:
    shape, strides = ([_whole(side) for side in about[key]] for key in ("sizes", "strides"))
    step = BYTES.get(about["dtype"])
    if step is None or about["layout"] != STRIDED or about["device"]["type"] != "cpu" or len(shape) != len(strides):
        raise Refused(f"the tensor '{name}' in it is none of plain numbers on the CPU")
    last = _whole(about["storage_offset"]) + sum(
        (side - 1) * stride for side, stride in zip(shape, strides, strict=True)
    )
    if 0 not in shape and (last + 1) * step > size:
        raise Refused(f"the tensor '{name}' in it reaches beyond its numbers")


def _whole(value: dict[str, Any]) -> int:
    number = value["as_int"]
    if type(number) is not int or not 0 <= number < LARGEST:
        raise Refused("a tensor in it has a size that is none")
    return number
