"""Exported files, looked at before their runtime sees them: whether they are whole, hold nothing that acts, and what they say of
themselves. Neither torch nor a runtime is needed.
"""

from __future__ import annotations

from pathlib import Path

from vertebra.errors import WeightsError
from vertebra.inference.checksum import is_sealed, weights_beside
from vertebra.inference.executorch_file import check_header
from vertebra.inference.executorch_file import read_metadata as of_executorch
from vertebra.inference.onnx_file import Damaged, read_model
from vertebra.inference.openvino_file import read_graph


def read_metadata(path: str | Path) -> str | None:
    """What an exported file says of itself, or None, after a look at all of it. Of a ``.pt2`` file only the names are looked at;
    the rest is checked when it is opened.

    Raises:
        WeightsError: it is missing, damaged, or holds what an export of Vertebra does not; in one line.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    if suffix == ".pt2":
        from vertebra.inference.pt2_archive import read_metadata as of_archive

        return of_archive(path)
    weights = _weights(path)
    content = path.read_bytes()
    whole = is_sealed(path, content)
    try:
        if suffix == ".onnx":
            return read_model(content)
        if suffix == ".xml":
            return read_graph(content, weights)
        check_header(content)
        if not whole:  # ExecuTorch ends the process where it meets damage, so that no file may reach it untested
            raise Damaged("it has no checksum: it is cut off, or Vertebra did not write it")
        return of_executorch(content)
    except Damaged as error:
        raise WeightsError(
            f"{path}: not loaded, {error}; make one with: vertebra export RUN --out {path.name}"
        ) from None


def _weights(path: Path) -> int:
    """Bytes of the file that holds the weights of another one, if there is to be one."""
    weights = weights_beside(path)
    if weights is None:
        return 0
    if not weights.is_file():
        raise WeightsError(f"{path}: its weights, {path.with_suffix('.bin').name}, are missing; copy both files")
    return weights.stat().st_size
