"""Validation of exported files before their runtime opens them, and their metadata; without torch and without a runtime."""

from __future__ import annotations

from pathlib import Path

from vertebra.errors import WeightsError
from vertebra.runtimes.model_files.checksum import verify_checksum, weights_beside
from vertebra.runtimes.model_files.executorch_file import check_header
from vertebra.runtimes.model_files.executorch_file import read_metadata as of_executorch
from vertebra.runtimes.model_files.onnx_file import InvalidFile, read_model
from vertebra.runtimes.model_files.openvino_file import read_graph


def read_metadata(path: str | Path) -> str | None:
    """Validates an exported file and returns its metadata (JSON), or None. Of a ``.pt2`` file only the members' names are checked
    here; the rest is validated when it is opened.

    Raises:
        WeightsError: it is missing or damaged, or contains something that Vertebra does not write; in one line.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    if suffix == ".pt2":
        from vertebra.runtimes.model_files.pt2_archive import read_metadata as of_archive

        return of_archive(path)
    weights = _weights(path)
    content = path.read_bytes()
    whole = verify_checksum(path, content)
    try:
        if suffix == ".onnx":
            return read_model(content)
        if suffix == ".xml":
            return read_graph(content, weights)
        check_header(content)
        if not whole:  # ExecuTorch aborts the process on a damaged file
            raise InvalidFile(
                "it has no checksum: it is truncated, or Vertebra did not write it, or an older version did; export it again"
            )
        return of_executorch(content)
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
