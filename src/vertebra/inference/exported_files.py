"""Exported files, looked at before their runtime sees them: whether they are whole, hold nothing that acts, and what they say of
themselves. Neither torch nor a runtime is needed, but for a ``.pte`` file's metadata.
"""

from __future__ import annotations

from pathlib import Path

from vertebra.errors import WeightsError
from vertebra.inference.checksum import is_sealed, weights_beside
from vertebra.inference.executorch_file import check_header
from vertebra.inference.onnx_file import Damaged, read_model
from vertebra.inference.openvino_file import check_graph, read_graph


def check_file(path: Path) -> None:
    """Whether a ``.onnx``, ``.xml`` or ``.pte`` file can be given to its runtime; `vertebra.inference.pt2_archive` is for ``.pt2``.

    Raises:
        WeightsError: it is missing, damaged, or holds what an export of Vertebra does not; in one line.
    """
    content = _content(path)
    suffix = path.suffix.lower()
    try:
        whole = is_sealed(path, content)
        if suffix == ".onnx":
            read_model(content)
        elif suffix == ".xml":
            check_graph(content, _weights(path))
        else:
            check_header(content)
            if not whole:  # ExecuTorch ends the process where it meets damage, so that no file may reach it untested
                raise Damaged("it has no checksum: it is cut off, or Vertebra did not write it")
    except Damaged as error:
        raise _refusal(path, error) from None


def read_metadata(path: str | Path) -> str | None:
    """What an exported file says of itself, or None; it is checked as by `check_file`.

    Raises:
        WeightsError: it is missing, damaged, or holds what an export of Vertebra does not.
        ConfigError: a ``.pte`` file is read by ExecuTorch, which is not installed.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".pt2":
        from vertebra.inference.pt2_archive import read_metadata as of_archive

        return of_archive(path)
    check_file(path)
    if suffix == ".pte":
        from vertebra.inference.executorch_session import ExecuTorchSession

        return ExecuTorchSession(path).metadata
    try:
        return read_model(_content(path)) if suffix == ".onnx" else read_graph(_content(path))
    except Damaged as error:
        raise _refusal(path, error) from None


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    return path.read_bytes()


def _weights(path: Path) -> int:
    """Bytes of the file with the weights."""
    weights = weights_beside(path)
    if weights is None or not weights.is_file():
        raise WeightsError(f"{path}: its weights, {path.with_suffix('.bin').name}, are missing; copy both files")
    return weights.stat().st_size


def _refusal(path: Path, error: Damaged) -> WeightsError:
    return WeightsError(f"{path}: not loaded, {error}; make one with: vertebra export RUN --out {path.name}")
