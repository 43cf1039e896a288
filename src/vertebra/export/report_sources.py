"""The models that a report is about: run folders, model files and exported files, ready to be evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vertebra.evaluation.measure import Measure, measure, measure_in_torch, measure_predictions
from vertebra.export.evaluate import run_in_torch
from vertebra.export.runtime_cache import open_cached_export, resolve_runtime
from vertebra.inference.devices import pick_device
from vertebra.inference.exported_model import ExportedModel
from vertebra.model import VisionModel
from vertebra.model_info import ModelInfo, model_info
from vertebra.report.model_summary import ModelSummary, summarize_model
from vertebra.runtimes import is_exported
from vertebra.runtimes.model_files.summary import describe_file, summary_text
from vertebra.runtimes.runtime_config import RuntimeConfig
from vertebra.training.labeled_data import run_folder_of
from vertebra.weights.model_file import load


@dataclass(frozen=True)
class RuntimeOptions:
    """How a model is run.

    Attributes:
        device, runtime, precision, threads: see `vertebra.export.evaluate.evaluate`.
        batch_size: images at a time.
        parts: the objects that the model was built from; see `vertebra.load`.
    """

    device: str | None = None
    runtime: str | None = None
    precision: str | None = None
    threads: int | None = None
    batch_size: int = 8
    parts: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ReportedModel:
    """A model that a report is about.

    Attributes:
        path: of the run folder or file; None for a model that has neither.
        info: its preprocessing and branches.
        config: of the model, or None.
        measure: evaluates it.
        probabilities: whether its predictions can keep probabilities.
        summary: of a model in PyTorch; None for an exported file.
        description: of an exported file, as text; empty for a model.
    """

    path: Path | None
    info: ModelInfo
    config: Mapping[str, Any] | None
    measure: Measure
    probabilities: bool
    summary: ModelSummary | None
    description: str = ""

    @property
    def run_folder(self) -> Path | None:
        """The folder of the run that it is from; None for a model of no run."""
        return run_folder_of(self.path)

    @property
    def name(self) -> str:
        """For headings: the name of the run folder or file."""
        if self.path is None:
            return "model"
        folder = self.run_folder
        return folder.resolve().name if folder is not None and not is_exported(self.path) else self.path.name


def open_reported(path: Path, options: RuntimeOptions) -> ReportedModel:
    """A run folder, a model file or an exported file.

    Raises:
        VertebraError: it is missing or damaged, or cannot be run with these options.
    """
    if is_exported(path):
        file = ExportedModel(
            path, runtime=options.runtime, precision=options.precision, threads=options.threads, device=options.device
        )
        return of_file(file, path, options)
    runtime_config = resolve_runtime(path, options.runtime, options.precision, False, options.threads)
    if runtime_config.runtime != "torch":
        return of_file(open_cached_export(path, runtime_config, device=options.device), path, options)
    return of_model(load(path, parts=options.parts), path, options, runtime_config)


def of_file(file: ExportedModel, path: Path, options: RuntimeOptions) -> ReportedModel:
    """An opened exported file, exported from what is at a path, or at that path itself."""
    if file.takes_pixels:
        predict = file.predictor(threshold=0.0, batch_size=options.batch_size).predict

        def measured(batches: Any, observer: Any) -> dict[str, float]:
            return measure_predictions(file.info, batches, predict, observer)
    else:

        def measured(batches: Any, observer: Any) -> dict[str, float]:
            return measure(file.info, batches, file.run, observer)

    description = summary_text(describe_file(file.path))
    return ReportedModel(path, file.info, file.config, measured, not file.class_maps, None, description)


def of_model(
    model: VisionModel, path: Path | None, options: RuntimeOptions, runtime_config: RuntimeConfig | None = None
) -> ReportedModel:
    """A model in PyTorch.

    Args:
        path: of its run folder or file, or None.
        runtime_config: precision, compilation and threads; None for fp32.
    """
    info = model_info(model)
    runtime_config = runtime_config or RuntimeConfig("torch", options.precision or "fp32", threads=options.threads)
    if runtime_config.precision == "fp32":
        measured = measure_in_torch(model, pick_device(options.device), runtime_config.threads)
    else:
        run = run_in_torch(model, runtime_config, options.device)
        measured = partial(_measure_run, info, run)
    return ReportedModel(path, info, model.config, measured, True, summarize_model(model))


def _measure_run(info: ModelInfo, run: Any, batches: Any, observer: Any = None) -> dict[str, float]:
    return measure(info, batches, run, observer)
