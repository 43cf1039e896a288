"""Metrics of a model on labeled images, in any runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vertebra.errors import ConfigError
from vertebra.evaluation.measure import Run, measure, measure_in_torch, measure_predictions
from vertebra.evaluation.panoptic import PanopticEvaluation
from vertebra.export.runtime_cache import open_cached_export, resolve_runtime
from vertebra.inference.devices import pick_device
from vertebra.inference.exported_model import ExportedModel
from vertebra.inference.predictor import Predictor
from vertebra.keywords import check_path, strict_keywords
from vertebra.messages import emit
from vertebra.model import VisionModel
from vertebra.model_info import model_info
from vertebra.runtimes import is_exported
from vertebra.runtimes.runtime_config import RuntimeConfig
from vertebra.training.labeled_data import LabeledOptions, labeled
from vertebra.weights.model_file import load

if TYPE_CHECKING:
    from typing_extensions import Unpack


@strict_keywords
def evaluate(
    source: str | Path | os.PathLike[str],
    *,
    split: str = "test",
    data: str | Path | None = None,
    batch_size: int = 8,
    branches: Sequence[str] | None = None,
    ignore_index: int | None = None,
    rename_classes: Mapping[str, str] | None = None,
    device: str | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
    parts: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Metrics of a trained model or an exported file, keyed ``branch/metric``; losses as well, where it runs in PyTorch and fp32.

    Args:
        source: a run folder, or a model file or an exported one (then ``data`` must be given).
        split: "train", "val" or "test". By default "test", but "val" in `vertebra.Model.evaluate`.
        data: a data set to use instead of the run's, for all branches.
        batch_size: images at a time.
        branches: the branches to evaluate; None for all.
        ignore_index: mask value of ignored pixels; None for the value in the run's config.
        rename_classes: from class names of ``data`` to class names of the model, where they differ.
        device: "cpu", "cuda" …; by default the best available, for an exported file the CPU.
        runtime, precision, threads: by default those stored by ``vertebra benchmark --save``, else torch in fp32; see
            `vertebra.export.runtime_cache.resolve_runtime`, and for an exported file
            `vertebra.inference.exported_model.ExportedModel`.
        parts: the objects that the model was built from; see `vertebra.load`.

    Raises:
        ConfigError: ``data`` is needed, the runtime is not installed, or a branch or class is unknown.
        DataError: the split does not exist, or the data cannot be used.
    """
    if isinstance(source, VisionModel | ExportedModel):
        raise ConfigError("evaluate takes a run folder or a file; for a model object call model.evaluate(data)")
    source = check_path("source", source)
    options: LabeledOptions = {
        "split": split,
        "data": data,
        "batch_size": batch_size,
        "branches": branches,
        "ignore_index": ignore_index,
        "rename_classes": rename_classes,
    }
    if is_exported(source):
        file = ExportedModel(source, runtime=runtime, precision=precision, threads=threads, device=device)
        return evaluate_file(file, **options)
    runtime_config = resolve_runtime(source, runtime, precision, False, threads)
    if runtime_config.runtime != "torch":
        return evaluate_file(open_cached_export(source, runtime_config, device=device), source, **options)
    return evaluate_model(load(source, parts=parts), source, runtime_config=runtime_config, device=device, **options)


def evaluate_model(
    model: VisionModel,
    source: str | Path | None = None,
    *,
    runtime_config: RuntimeConfig | None = None,
    device: str | torch.device | None = None,
    **options: Unpack[LabeledOptions],
) -> dict[str, float]:
    """Metrics of a model in PyTorch, keyed ``branch/metric``; losses as well in fp32.

    Args:
        model: is not changed.
        source: the run folder or file of the model, whose data are used unless ``data`` is given; or None.
        runtime_config: precision, compilation and threads; None for fp32.
        device: by default the best available.
        options: ``split``, ``data``, ``batch_size``, ``branches``, ``ignore_index`` and ``rename_classes``; see `evaluate`.
    """
    runtime_config = runtime_config or RuntimeConfig()
    info = model_info(model)
    loader = labeled(source, info, model.config, **options)
    panoptic = PanopticEvaluation.of(info, options["batch_size"])
    if runtime_config.precision == "fp32":
        scores = measure_in_torch(model, pick_device(device), runtime_config.threads)(loader, panoptic)
    else:
        scores = measure(info, loader, run_in_torch(model, runtime_config, device), panoptic)
    return _with_panoptic(scores, panoptic, loader)


def evaluate_file(
    file: ExportedModel, source: str | Path | None = None, **options: Unpack[LabeledOptions]
) -> dict[str, float]:
    """Metrics of an exported file, keyed ``branch/metric``.

    Args:
        file: what is measured.
        source: as of `evaluate_model`; None for the file itself.
        options: as of `evaluate_model`.
    """
    loader = labeled(source or file.path, file.info, file.config, **options)
    panoptic = PanopticEvaluation.of(file.info, options["batch_size"])
    if file.takes_pixels:
        predictor = file.predictor(threshold=0.0, batch_size=options["batch_size"])
        scores = measure_predictions(file.info, loader, predictor.predict, panoptic)
    else:
        scores = measure(file.info, loader, file.run, panoptic)
    return _with_panoptic(scores, panoptic, loader)


def _with_panoptic(scores: dict[str, float], panoptic: PanopticEvaluation | None, loader: Any) -> dict[str, float]:
    """The metrics with those of panoptic segmentation; prints notes about the data."""
    emit(*loader.dataset.range_notes(), *loader.dataset.notes())
    if panoptic is None:
        return scores
    emit(*panoptic.notes())
    return {**scores, **panoptic.scores()}


def run_in_torch(model: VisionModel, runtime_config: RuntimeConfig, device: str | torch.device | None) -> Run:
    """A function that runs a model in PyTorch, from canvases (N, C, H, W) to decoded outputs."""
    if runtime_config.runtime != "torch":
        raise ConfigError(f"{runtime_config.name} is not PyTorch")
    precision: Any = runtime_config.precision
    predictor = Predictor(
        model, device=device, precision=precision, compile=runtime_config.compile, threads=runtime_config.threads
    )

    def run(images: np.ndarray, sizes: np.ndarray) -> Any:
        return predictor.run(images.transpose(0, 2, 3, 1), sizes)

    return run
