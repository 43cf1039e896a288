"""A model's metrics on labeled images, whatever runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.errors import ConfigError
from vertebra.evaluation.measure import Run, evaluate_loader, measure, measure_predictions
from vertebra.export.runtime_cache import open_file_in, resolve_runtime
from vertebra.inference.devices import pick_device
from vertebra.inference.exported_model import ExportedModel
from vertebra.inference.predictor import Predictor, model_info
from vertebra.messages import say
from vertebra.model import VisionModel
from vertebra.runtimes import is_exported
from vertebra.runtimes.runtime_config import RuntimeConfig
from vertebra.training.run import labeled
from vertebra.weights.model_file import load


def evaluate(
    source: str | Path,
    *,
    split: str = "test",
    data: str | Path | None = None,
    batch_size: int = 8,
    branches: Sequence[str] | None = None,
    ignore_index: int | None = None,
    class_map: Mapping[str, str] | None = None,
    device: str | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
) -> dict[str, float]:
    """Metrics of a trained model or an exported file, keyed ``branch/metric``; losses as well, where it runs in PyTorch and fp32.

    Args:
        source: a run folder, or a model file or an exported one (then ``data`` must be given).
        split: "train", "val" or "test".
        data: another data set than the run's own, for all branches.
        batch_size: images at a time.
        branches: only these are measured; None for all.
        ignore_index: mask value of pixels that do not count; None for what the run's config says.
        class_map: from class names of ``data`` to those of the model, where they differ.
        device: "cpu", "cuda" …; by default the best there is, for an exported file the CPU.
        runtime, precision, threads: see `vertebra.export.runtime_cache.resolve_runtime`, and for an exported file
            `vertebra.inference.exported_model.ExportedModel`.

    Raises:
        ConfigError: the user must say which data, the runtime is not there, or an unknown branch or class.
        DataError: there is no such split, or the data cannot be used.
    """
    options: dict[str, Any] = {
        "split": split,
        "data": data,
        "batch_size": batch_size,
        "branches": branches,
        "ignore_index": ignore_index,
        "class_map": class_map,
    }
    if is_exported(source):
        file = ExportedModel(source, runtime=runtime, precision=precision, threads=threads, device=device)
        return _scores(source, file, options)
    runtime_config = resolve_runtime(source, runtime, precision, False, threads)
    if runtime_config.runtime != "torch":
        return _scores(source, open_file_in(source, runtime_config, device=device), options)
    model = load(source)
    loader = labeled(source, model_info(model), model.config, **options)
    if runtime_config.precision == "fp32":
        scores = evaluate_loader(model, loader, pick_device(device), runtime_config.threads)
    else:
        scores = measure(model_info(model), loader, run_in_torch(model, runtime_config, device))
    say(*loader.dataset.notes())
    return scores


def _scores(source: str | Path, file: ExportedModel, options: dict[str, Any]) -> dict[str, float]:
    loader = labeled(source, file.info, file.config, **options)
    if file.takes_pixels:
        predictor = file.predictor(threshold=0.0, batch_size=options["batch_size"])
        scores = measure_predictions(file.info, loader, predictor.predict)
    else:
        scores = measure(file.info, loader, file.run)
    say(*loader.dataset.notes())
    return scores


def run_in_torch(model: VisionModel, runtime_config: RuntimeConfig, device: str | None) -> Run:
    """What runs a model in PyTorch, from canvases (N, C, H, W) to decoded outputs."""
    if runtime_config.runtime != "torch":
        raise ConfigError(f"{runtime_config.name} is not PyTorch")
    precision: Any = runtime_config.precision
    predictor = Predictor(
        model, device=device, precision=precision, compile=runtime_config.compile, threads=runtime_config.threads
    )

    def run(images: np.ndarray, sizes: np.ndarray) -> Any:
        return predictor.run(images.transpose(0, 2, 3, 1), sizes)

    return run
