"""Safety checks before a weight file is read: the sizes that it claims, and contents that no trainer writes."""

from __future__ import annotations

import mmap
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

from torch import Tensor

from vertebra.errors import WeightsError

HEADER_LIMIT = 16 << 20  # bytes; a safetensors header takes some kB, and 20,000 class names less than 1 MB
PICKLE_LIMIT = 64 << 20  # bytes of a checkpoint's pickle, whose tensors are in separate records
LOCAL_HEADER = 30  # bytes before the name of a zip member
CLAIM_SLACK = 4 << 20  # bytes that tensors may have beyond their file: expanded and tied ones


def check_length(path: Path) -> None:
    """Checks the length of a safetensors file's header before the header is read.

    Raises:
        WeightsError: the file is shorter than its header, or the header is far larger than any model's.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if 8 + length > path.stat().st_size:
        raise WeightsError(
            f"{path}: truncated or not a safetensors file (it is shorter than its header); copy or download it again"
        )
    if length > HEADER_LIMIT:
        raise WeightsError(
            f"{path}: its header takes {length >> 20} MB, and that of weights less than {HEADER_LIMIT >> 20}; it is damaged "
            "or not a weight file"
        )


def check_zip(path: Path) -> None:
    """Checks that a zip file is one of ``torch.save``: nothing in it is compressed, larger than the file, or corrupted.

    Raises:
        WeightsError: it is a TorchScript program.
        ValueError: ``torch.save`` did not write it, or it is corrupted.
        zipfile.BadZipFile: it is truncated.
    """
    with zipfile.ZipFile(path) as file:
        members = file.infolist()
    if any(member.filename.endswith("/constants.pkl") for member in members):
        raise WeightsError(
            f"{path}: a TorchScript program, not a weight file; save module.state_dict() where it was made, and give that file"
        )
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("a zip file with compressed parts, which torch.save does not write")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise ValueError("its parts are larger than the file")
    pickled = max((member.file_size for member in members if member.filename.endswith("data.pkl")), default=0)
    if pickled > PICKLE_LIMIT:
        raise ValueError(f"it holds {pickled >> 20} MB besides its tensors")
    changed = _changed_members(path, members)
    if changed:
        raise ValueError(f"'{changed[0]}' in it is not what was saved: its checksum differs")


def _changed_members(path: Path, members: Sequence[zipfile.ZipInfo]) -> list[str]:
    """Names of members whose checksum differs, which torch does not check. A checksum of 0 means that torch wrote none."""
    changed = []
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        memoryview(data) as view,
    ):
        for member in members:
            name, extra = struct.unpack_from("<HH", view, member.header_offset + 26)
            start = member.header_offset + LOCAL_HEADER + name + extra
            if member.CRC and zlib.crc32(view[start : start + member.file_size]) != member.CRC:
                changed.append(member.filename)
    return changed


def check_claims(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Checks that tensors are not far larger than their file: a few bytes can claim to be a tensor of any shape.

    Raises:
        ValueError: the tensors are too large.
    """
    claimed = sum(value.element_size() * prod(max(side, 1) for side in value.shape) for value in tensors.values())
    if claimed > 4 * path.stat().st_size + CLAIM_SLACK:
        raise ValueError(f"it claims {claimed >> 20} MB of tensors, more than it can hold")


def one_line(error: BaseException, max_length: int = 160) -> str:
    """The first line of an error's text, not too long."""
    text = " ".join(str(error).strip().split("\n")[0].split()) or type(error).__name__
    return text if len(text) <= max_length else text[: max_length - 1] + "…"
