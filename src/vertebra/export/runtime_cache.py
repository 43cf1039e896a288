"""Opens a model in a runtime. The exported file is made once and cached."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile

from vertebra.errors import ConfigError, RunError
from vertebra.files import cache_folder, os_error_sentence, os_errors_as_run_errors
from vertebra.inference.exported_model import ExportedModel
from vertebra.inference.model_source import ModelSource
from vertebra.runtimes.runtime_config import RuntimeConfig, choice_path, identity, read_choice
from vertebra.weights.model_file import load, model_path

FOLDER = "exported"


def resolve_runtime(
    source: str | Path, runtime: str | None, precision: str | None, compile: bool, threads: int | None
) -> RuntimeConfig:
    """The runtime for these options; by default the choice stored beside the model, else PyTorch in fp32.

    Args:
        source: a run folder or a model file.
        runtime, precision: None for the default; int8 alone means ONNX Runtime.
        compile, threads: as of `RuntimeConfig`.
    """
    if runtime is None and precision is None and not compile:
        stored = read_choice(model_path(source))
        if stored is not None:
            print(f"running in {stored.name}, as chosen in {choice_path(model_path(source)).name}", file=sys.stderr)
            return stored if threads is None else replace(stored, threads=threads)
    default = runtime or ("onnx" if precision == "int8" else "torch")
    return RuntimeConfig(default, precision or "fp32", compile, threads)


def resolve_source(source: str | Path, runtime_config: RuntimeConfig, *, device: str | None = None) -> ModelSource:
    """The file for a runtime, exported if it is not cached yet, and the options to open it with.

    Args:
        source: a run folder or a model file.
        runtime_config: the runtime.
        device: "cpu", "cuda" …; by default the best available.

    Raises:
        ExportError: the model cannot be exported for the runtime.
    """
    if runtime_config.runtime == "torch":
        return ModelSource(
            model_path(source), None, runtime_config.precision, runtime_config.compile, runtime_config.threads, device
        )
    path = cached_export(source, runtime_config.file_precision)
    return ModelSource(
        path, runtime_config.runtime, runtime_config.opening_precision, threads=runtime_config.threads, device=device
    )


def open_cached_export(
    source: str | Path, runtime_config: RuntimeConfig, *, device: str | None = None
) -> ExportedModel:
    """The exported file of a model, opened in a runtime other than PyTorch."""
    return resolve_source(source, runtime_config, device=device).exported()


def cached_export(source: str | Path, precision: str) -> Path:
    """The ONNX file of a model, exported and compared at the first call: in the folder ``exported`` beside the model, or, if that
    cannot be written, in the user's cache folder (see `vertebra.files.cache_folder`).

    Raises:
        ConfigError: int8 needs images, and the run's images are missing.
        ExportError: the model cannot be exported, or the file differs from it.
        RunError: neither folder can be written.
    """
    file = model_path(source)
    name = f"{file.stem}-{identity(file)}-{precision}.onnx"
    folders = [file.parent / FOLDER, cache_folder() / FOLDER]
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    path = _first_writable(folders) / name
    from vertebra.export.calibration_images import calibration_images  # slow: it imports the training modules
    from vertebra.export.export_model import export_model
    from vertebra.export.files import metadata_json_path

    model = load(source)
    images = calibration_images(source, model)
    if precision == "int8" and not images:
        raise ConfigError(
            f"int8 is calibrated with real images, and the training images of {source} are missing; make the file yourself: "
            f"vertebra export {source} --out model.onnx --precision int8 --calibrate IMAGES"
        )
    print(
        f"exporting {path} once for this model, and comparing it with PyTorch; this takes about a minute",
        file=sys.stderr,
    )
    with os_errors_as_run_errors(path):
        metadata_json_path(path).unlink(missing_ok=True)  # of a file that was removed
    try:
        export_model(model, path, precision=precision, input="canvas", images=images)  # type: ignore[arg-type]
    except RunError:
        if not path.exists():  # else another process has made it meanwhile
            raise
    return path


def _first_writable(folders: list[Path]) -> Path:
    """Creates and returns the first folder that can be written."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                return folder
        except OSError as error:
            if folder == folders[-1]:
                raise RunError(
                    f"{os_error_sentence(error, folder)}; the exported file could not be kept beside the model either. Set "
                    "VERTEBRA_CACHE to a folder that can be written"
                ) from error
    raise AssertionError("there is a folder")
