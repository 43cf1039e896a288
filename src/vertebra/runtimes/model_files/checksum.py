"""The SHA-256 checksum at the end of an exported file, without torch.

It is stored where the runtime ignores it: in an entry of the metadata (ONNX), in a comment (OpenVINO's ``.xml``; it covers the
``.bin`` too), or in bytes behind the program (ExecuTorch). A ``.pt2`` file is a zip archive, which has a checksum for each member.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from vertebra.errors import WeightsError

NAME = "vertebra.sha256"
DIGITS = 64


class Trailer(NamedTuple):
    """The bytes before and behind the digits of a checksum, at the end of a file."""

    before: bytes
    after: bytes = b""

    def around(self, digits: str) -> bytes:
        """The trailer with its digits."""
        return self.before + digits.encode() + self.after


TRAILERS = {
    # field 14 of a model: an entry of 83 bytes, its key of 15 and its value of 64
    ".onnx": Trailer(b"\x72\x53\x0a\x0f" + NAME.encode() + b"\x12\x40"),
    ".xml": Trailer(f"\n<!-- {NAME} ".encode(), b" -->\n"),
    ".pte": Trailer(NAME.encode()),
}


def weights_beside(path: Path) -> Path | None:
    """The separate weights file of a format that has one, or None."""
    return path.with_suffix(".bin") if path.suffix.lower() == ".xml" else None


def append_checksum(path: Path) -> None:
    """Appends the checksum to a file without one."""
    content = path.read_bytes()
    with path.open("ab") as file:
        file.write(TRAILERS[path.suffix.lower()].around(_digits(path, content)))


def verify_checksum(path: Path, content: bytes) -> bool:
    """Whether the file has a checksum; a wrong one raises.

    Args:
        path: of the file.
        content: of the file.

    Raises:
        WeightsError: the checksum does not match the file.
    """
    trailer = TRAILERS[path.suffix.lower()]
    length = len(trailer.around("")) + DIGITS
    end = content[-length:]
    if len(end) < length or not end.startswith(trailer.before) or not end.endswith(trailer.after):
        return False
    if end != trailer.around(_digits(path, memoryview(content)[:-length])):
        files = path.name if weights_beside(path) is None else f"{path.name} or its .bin file"
        raise WeightsError(
            f"{path}: {files} is damaged or was changed (its checksum does not match); copy or export it again. A tool that "
            f"changes it on purpose must remove '{NAME}'"
        )
    return True


def _digits(path: Path, content: bytes | memoryview) -> str:
    digest = hashlib.sha256(content)
    weights = weights_beside(path)
    if weights is not None and weights.is_file():
        with weights.open("rb") as file:
            while part := file.read(2**22):
                digest.update(part)
    return digest.hexdigest()
