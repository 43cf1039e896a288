"""The runtimes of exported files; without torch, except for files of torch itself.

A runtime of another package is an entry point ``vertebra.runtimes``: a class like `vertebra.runtimes.base.Runtime`.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

from vertebra.errors import ConfigError, UnknownName, WeightsError
from vertebra.runtimes.base import FileFormat, Runtime, Session, SessionOptions
from vertebra.runtimes.executorch import ExecuTorchRuntime
from vertebra.runtimes.onnx import OnnxRuntime, TensorRtRuntime
from vertebra.runtimes.openvino import OpenVinoRuntime
from vertebra.runtimes.torch_export import TorchExportRuntime

BUILT_IN: tuple[Runtime, ...] = (
    TorchExportRuntime(),
    OnnxRuntime(),
    OpenVinoRuntime(),
    TensorRtRuntime(),
    ExecuTorchRuntime(),
)
ENTRY_POINTS = "vertebra.runtimes"


def list_runtimes() -> list[Runtime]:
    """All runtimes, those of installed packages last."""
    return [*BUILT_IN, *(point.load()() for point in entry_points(group=ENTRY_POINTS))]


def find_format(path: str | Path) -> FileFormat | None:
    """The format of a file, by its name; None where no runtime opens such files."""
    suffix = Path(path).suffix.lower()
    formats = {known.suffix: known for runtime in BUILT_IN for known in runtime.formats}
    if suffix and suffix not in formats:
        formats = {known.suffix: known for runtime in list_runtimes() for known in runtime.formats}
    return formats.get(suffix)


def is_exported(path: str | Path) -> bool:
    """Whether a file is, by its name, one that a runtime runs."""
    return find_format(path) is not None


def find_runtime(path: str | Path, name: str | None = None) -> Runtime:
    """The runtime of an exported file.

    Args:
        path: a file that `is_exported`.
        name: of the runtime; None for the format's own runtime.

    Raises:
        ConfigError: there is no such runtime, or it does not open such files.
    """
    suffix = Path(path).suffix.lower()
    if name is None:
        built_in = next((runtime for runtime in BUILT_IN if runtime.formats[0].suffix == suffix), None)
        return built_in or next(runtime for runtime in list_runtimes() if suffix in suffixes(runtime))
    named = {runtime.name: runtime for runtime in BUILT_IN}
    if name not in named:  # only then: an installed package that fails to load must not break the others
        named = {runtime.name: runtime for runtime in list_runtimes()}
    if name not in named:
        raise UnknownName("runtime of a file", name, named)
    if suffix not in suffixes(named[name]):
        raise ConfigError(
            f"{Path(path).name} does not run in {name}, which needs a {suffixes(named[name])[0]} file; export one for it"
        )
    return named[name]


def suffixes(runtime: Runtime) -> list[str]:
    """The file name suffixes that a runtime opens."""
    return [known.suffix for known in runtime.formats]


def computed_in(path: str | Path, runtime: str | None = None, precision: str | None = None) -> str:
    """The precision and the runtime that `open_file` uses, as text; equal for options that mean the same.

    Args:
        path, runtime, precision: as of `open_file`.
    """
    chosen = find_runtime(path, runtime)
    chosen_by_user = precision != "fp32" and precision in chosen.precisions
    return f"{precision if chosen_by_user else 'as exported'} by {chosen.name}"


def read_metadata(path: str | Path) -> str | None:
    """Verifies an exported file and returns its metadata (JSON), or None. Of a ``.pt2`` file only the members' names are checked
    here; the rest is verified when it is opened.

    Raises:
        WeightsError: it is missing or damaged, or contains something that Vertebra does not write; in one line.
    """
    path, known = Path(path), find_format(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    if known is None:
        raise WeightsError(f"{path}: no runtime opens files with this suffix")
    return known.read_metadata(path)


def open_file(
    path: str | Path,
    *,
    runtime: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
    device: str | None = None,
) -> Session:
    """Opens an exported file, which is trusted: `vertebra.inference.exported_model.ExportedModel` verifies it before.

    Args:
        path: a file that `is_exported`.
        runtime: that runs it; None for the format's own runtime.
        threads: of the CPU; None for all cores.
        precision: of the computation, for runtimes that can choose it: "bf16" with OpenVINO; None for the file's own.
        device: "cpu", or "cuda" with ONNX Runtime for GPUs; None for the CPU.

    Raises:
        ConfigError: the runtime is not installed, does not run such a file, or has no such precision or device.
        WeightsError: the file is missing or cannot be read.
    """
    return find_runtime(path, runtime).open(Path(path), SessionOptions(threads, precision, device))
