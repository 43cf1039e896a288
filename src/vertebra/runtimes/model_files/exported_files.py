"""Verification of exported files before their runtime opens them; without torch and without a runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vertebra.errors import WeightsError
from vertebra.runtimes.model_files.checksum import verify_checksum, weights_beside
from vertebra.runtimes.model_files.onnx_file import InvalidFile

Parser = Callable[[bytes, int, bool], str | None]
"""From a file's content, the bytes of its separate weights file and whether it has a checksum, to its metadata. Raises
`InvalidFile` where the content is damaged or contains what Vertebra does not write."""


def read_verified(path: Path, parse: Parser) -> str | None:
    """Verifies the checksum and the content of an exported file, and returns its metadata (JSON), or None.

    Args:
        path: of a file that exists.
        parse: checks the content and finds the metadata in it.

    Raises:
        WeightsError: the file or its weights file is damaged or missing; in one line.
    """
    weights = _weights(path)
    content = path.read_bytes()
    whole = verify_checksum(path, content)
    try:
        return parse(content, weights, whole)
    except InvalidFile as error:
        raise WeightsError(
            f"{path}: not loaded, {error}; make one with: vertebra export RUN --out {path.name}"
        ) from None


def _weights(path: Path) -> int:
    """The size in bytes of the separate weights file; 0 where the format has none."""
    weights = weights_beside(path)
    if weights is None:
        return 0
    if not weights.is_file():
        raise WeightsError(f"{path}: its weights, {path.with_suffix('.bin').name}, are missing; copy both files")
    return weights.stat().st_size
