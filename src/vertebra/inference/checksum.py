"""The checksum at the end of an exported file: whether it is, to the bit, what Vertebra wrote; without torch.

Each kind of file has a place at its end that its runtime takes no notice of: an entry of the metadata (ONNX), a comment (OpenVINO's
``.xml``; the checksum is over its ``.bin`` too), bytes behind the program (ExecuTorch). A ``.pt2`` file is an archive, which has a
checksum for each member.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from vertebra.errors import WeightsError

NAME = "vertebra.sha256"
DIGITS = 64


class Seal(NamedTuple):
    """What stands before and behind the digits of a checksum, at the end of a file."""

    before: bytes
    after: bytes = b""

    def around(self, digits: str) -> bytes:
        """The checksum as it is written."""
        return self.before + digits.encode() + self.after


SEALS = {
    # field 14 of a model: an entry of 83 bytes, its key of 15 and its value of 64
    ".onnx": Seal(b"\x72\x53\x0a\x0f" + NAME.encode() + b"\x12\x40"),
    ".xml": Seal(f"\n<!-- {NAME} ".encode(), b" -->\n"),
    ".pte": Seal(NAME.encode()),
}


def weights_beside(path: Path) -> Path | None:
    """The file that holds the weights of another one, where they are not in it."""
    return path.with_suffix(".bin") if path.suffix.lower() == ".xml" else None


def seal(path: Path) -> None:
    """Writes its checksum at the end of a file that has none."""
    content = path.read_bytes()
    with path.open("ab") as file:
        file.write(SEALS[path.suffix.lower()].around(_digits(path, content)))


def is_sealed(path: Path, content: bytes) -> bool:
    """Whether a file has a checksum, which then is right.

    Args:
        path: of the file.
        content: of the file.

    Raises:
        WeightsError: the checksum is of something else.
    """
    own = SEALS[path.suffix.lower()]
    length = len(own.around("")) + DIGITS
    end = content[-length:]
    if len(end) < length or not end.startswith(own.before) or not end.endswith(own.after):
        return False
    if end != own.around(_digits(path, memoryview(content)[:-length])):
        files = path.name if weights_beside(path) is None else f"{path.name} or its .bin file"
        raise WeightsError(
            f"{path}: {files} is damaged or was changed (its checksum is another); copy or export it again. A tool that changes it "
            f"on purpose must take out '{NAME}'"
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
