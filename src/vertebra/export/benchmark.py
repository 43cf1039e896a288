"""Benchmarks a model in all runtimes and precisions of this machine: speed, memory, agreement with PyTorch, and metrics."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.data.batches import Batch
from vertebra.errors import DataError, VertebraError
from vertebra.evaluation.benchmark import Canvases, benchmark_in_subprocess
from vertebra.evaluation.measure import Run, measure
from vertebra.export.evaluate import run_in_torch
from vertebra.export.parity import agreements
from vertebra.export.parity_inputs import ParityCase, real_parity_inputs
from vertebra.export.runtime_cache import cached_export, open_cached_export
from vertebra.model import VisionModel
from vertebra.model_info import ModelInfo, model_info
from vertebra.runtimes.runtime_config import RuntimeConfig
from vertebra.tasks import get_task
from vertebra.weights.model_file import load, model_path

COMPARED_IMAGES = 8  # images on which the outputs are compared
BASELINE = RuntimeConfig()


@dataclass(frozen=True)
class RuntimeBenchmark:
    """The result of one runtime and precision.

    Attributes:
        runtime_config: the runtime and its options.
        latency: median seconds for one image.
        throughput: images a second in batches.
        memory: peak bytes of its process.
        agreement: the mean agreement with PyTorch in fp32, of the branch that agrees least; 0 to 1.
        metrics: each branch's main metric on the labeled images; empty if there are none.
        failure: the reason why it does not run here; the other values are meaningless then.
    """

    runtime_config: RuntimeConfig
    latency: float = 0.0
    throughput: float = 0.0
    memory: int = 0
    agreement: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    failure: str = ""


def candidate_configs(device: str, *, compile: bool = False, threads: int | None = None) -> list[RuntimeConfig]:
    """The runtimes and precisions that this machine may support, PyTorch in fp32 first.

    Args:
        device: "cpu" or "cuda" and the like.
        compile: try ``torch.compile`` too, which takes minutes.
        threads: of the CPU.
    """
    half = "bf16" if device == "cpu" else "fp16"
    choices = [("torch", "fp32"), ("torch", half)]
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnxscript"):
        choices += [("onnx", "fp32"), ("onnx", "int8")]
        if device != "cpu":
            choices += [("onnx", "fp16"), *_tensorrt()]
        if device == "cpu" and importlib.util.find_spec("openvino"):
            choices += [("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8")]
    runtime_configs = [RuntimeConfig(runtime, precision, threads=threads) for runtime, precision in choices]
    return [*runtime_configs, *([RuntimeConfig("torch", "fp32", True, threads)] if compile else [])]


def _tensorrt() -> list[tuple[str, str]]:
    import onnxruntime

    available = "TensorrtExecutionProvider" in onnxruntime.get_available_providers()
    return [("tensorrt", "fp32"), ("tensorrt", "fp16")] if available else []


def benchmark_runtimes(
    source: str | Path,
    *,
    runtime_configs: Sequence[RuntimeConfig],
    images: Sequence[Any],
    labeled: Iterable[Batch] | None = None,
    max_labeled: int = 200,
    batch_size: int = 8,
    seconds: float = 2.0,
    device: str | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Iterator[RuntimeBenchmark]:
    """Benchmarks each runtime and precision.

    Args:
        source: a run folder or a model file.
        runtime_configs: to benchmark; see `candidate_configs`.
        images: real images, at least one, to measure speed and compare outputs.
        labeled: batches on the model's canvas, for the metrics.
        max_labeled: number of these images to use.
        batch_size: images at a time, for the throughput.
        seconds: duration of each measurement.
        device: None for the best available.
        progress: called with a line before each benchmark.

    Yields:
        One result for each, including those that fail here.

    Raises:
        DataError: there is no image.
    """
    if not images:
        raise DataError("there is no image to measure with; name a folder with some: images=... (--images)")
    model = load(source)
    info = model_info(model)
    real = real_parity_inputs(info, images[: max(COMPARED_IMAGES, batch_size)])
    canvases = _batch_of(real, batch_size)
    batches = None if labeled is None else _first_batches(labeled, max_labeled)
    expected = [run_in_torch(model, BASELINE, device)(case.images, case.sizes) for case in real[:COMPARED_IMAGES]]
    for runtime_config in runtime_configs:
        progress(f"trying {runtime_config.name}")
        try:
            yield _benchmark(
                source,
                model,
                info,
                runtime_config,
                real[:COMPARED_IMAGES],
                expected,
                canvases,
                batches,
                seconds,
                device,
            )
        except (VertebraError, RuntimeError) as error:
            yield RuntimeBenchmark(runtime_config, failure=str(error).strip().splitlines()[0])


def _benchmark(
    source: str | Path,
    model: VisionModel,
    info: ModelInfo,
    runtime_config: RuntimeConfig,
    real: Sequence[ParityCase],
    expected: Sequence[Mapping[str, Sequence[np.ndarray]]],
    canvases: Canvases,
    batches: list[Batch] | None,
    seconds: float,
    device: str | None,
) -> RuntimeBenchmark:
    in_torch = runtime_config.runtime == "torch"
    file = model_path(source) if in_torch else cached_export(source, runtime_config.file_precision)
    speed = benchmark_in_subprocess(runtime_config, file, canvases, seconds=seconds, device=device)
    run: Run = (
        run_in_torch(model, runtime_config, device)
        if in_torch
        else open_cached_export(source, runtime_config, device=device).run
    )
    similarities = [
        agreements(info, case, output, run(case.images, case.sizes))
        for case, output in zip(real, expected, strict=True)
    ]
    agreement = min(float(np.mean([values[name] for values in similarities])) for name in info.branches)
    metrics = {} if batches is None else _main_metrics(info, measure(info, batches, run))
    return RuntimeBenchmark(runtime_config, speed.latency, speed.throughput, speed.memory, agreement, metrics)


def _main_metrics(info: ModelInfo, scores: Mapping[str, float]) -> dict[str, float]:
    """Each branch's main metric."""
    names = [f"{name}/{get_task(task).monitor}" for name, (task, _) in info.branches.items()]
    return {name: scores[name] for name in names if name in scores}


def select_fastest(
    trials: Sequence[RuntimeBenchmark], *, by: str = "latency", metric_loss: float = 0.01, agreement: float = 0.9
) -> RuntimeBenchmark:
    """The fastest result that is accurate enough: no metric falls by more than ``metric_loss``, or, without metrics, its
    predictions agree with PyTorch's.

    Args:
        trials: the results; the first is PyTorch in fp32.
        by: "latency" or "throughput".
        metric_loss: the largest allowed fall of a branch's main metric.
        agreement: the minimum agreement with PyTorch in fp32, used if there is no metric.
    """
    baseline = trials[0]
    accurate = [
        trial
        for trial in trials
        if not trial.failure
        and (
            all(baseline.metrics[name] - value <= metric_loss for name, value in trial.metrics.items())
            if trial.metrics
            else trial.agreement >= agreement
        )
    ]
    return min(accurate or [baseline], key=lambda trial: trial.latency if by == "latency" else -trial.throughput)


def _batch_of(real: Sequence[ParityCase], batch_size: int) -> Canvases:
    """A batch of canvases of one size; they are repeated if there are fewer than ``batch_size``."""
    alike = [case for case in real if case.images.shape == real[0].images.shape]
    chosen = [alike[index % len(alike)] for index in range(batch_size)]
    return np.concatenate([case.images for case in chosen]), np.concatenate([case.sizes for case in chosen])


def _first_batches(batches: Iterable[Batch], max_images: int) -> list[Batch]:
    """The first batches, with about ``max_images`` images."""
    chosen: list[Batch] = []
    for batch in islice(batches, max_images):
        chosen.append(batch)
        if sum(map(len, chosen)) >= max_images:
            break
    return chosen
