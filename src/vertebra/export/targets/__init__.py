"""Export targets: the file formats that a model can be exported to, one class per file.

A target of another package is an entry point ``vertebra.export_targets``: a class derived from `ExportTarget`. Its name is the
``to`` of `vertebra.export_model`. The runtime that opens its files is an entry point ``vertebra.runtimes``.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

from vertebra.errors import ConfigError, UnknownName
from vertebra.export.targets.base import ExportTarget
from vertebra.export.targets.executorch import ExecuTorchTarget
from vertebra.export.targets.onnx import OnnxTarget
from vertebra.export.targets.openvino import OpenVinoTarget
from vertebra.export.targets.torch_export import TorchExportTarget

BUILT_IN: tuple[type[ExportTarget], ...] = (OnnxTarget, OpenVinoTarget, TorchExportTarget, ExecuTorchTarget)
ENTRY_POINTS = "vertebra.export_targets"


def list_targets() -> list[type[ExportTarget]]:
    """All targets, those of installed packages last."""
    return [*BUILT_IN, *(point.load() for point in entry_points(group=ENTRY_POINTS))]


def find_target(path: Path, name: str | None = None) -> type[ExportTarget]:
    """The target of a file.

    Args:
        path: of the file to write; its suffix selects the target if none is named.
        name: of the target, or None.

    Raises:
        ConfigError: there is no such target, or the file's name does not fit it.
    """
    targets: Sequence[type[ExportTarget]] = BUILT_IN
    matches = _matching(targets, path, name)
    if not matches:  # only then: an installed package that fails to load must not break the others
        targets = list_targets()
        matches = _matching(targets, path, name)
    if matches:
        return matches[0]
    named = {target.name: target for target in targets}
    if name is not None and name not in named:
        raise UnknownName("kind of file", name, named)
    suffixes = [target.format.suffix for target in targets if name in (None, target.name)]
    raise ConfigError(f"{path}: the suffix of such a file is {', '.join(suffixes)}")


def _matching(targets: Sequence[type[ExportTarget]], path: Path, name: str | None) -> list[type[ExportTarget]]:
    suffix = path.suffix.lower()
    return [target for target in targets if target.format.suffix == suffix and name in (None, target.name)]
