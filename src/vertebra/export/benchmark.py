"""Which runtime and precision are best for a model on this machine: run, compared with the model, measured."""

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
from vertebra.export.runtime_cache import exported_file, open_file_in
from vertebra.model import VisionModel
from vertebra.model_info import ModelInfo, model_info
from vertebra.runtimes.runtime_config import RuntimeConfig
from vertebra.tasks import get_task
from vertebra.weights.model_file import load, model_path

COMPARED = 8  # images on which the outputs are compared
EXACT = RuntimeConfig()


@dataclass(frozen=True)
class Trial:
    """The result of one runtime and precision.

    Attributes:
        runtime_config: the runtime and its options.
        latency: median seconds for one image.
        throughput: images a second in batches.
        memory: peak bytes of its process.
        agreement: the mean agreement with PyTorch in fp32, of the branch that agrees least; 0 to 1.
        metrics: each branch's main metric on the labeled images; empty without any.
        failure: why it does not work here; the other values have no meaning then.
    """

    runtime_config: RuntimeConfig
    latency: float = 0.0
    throughput: float = 0.0
    memory: int = 0
    agreement: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    failure: str = ""


def candidates(device: str, *, compile: bool = False, threads: int | None = None) -> list[RuntimeConfig]:
    """What this machine may be able to run, PyTorch in fp32 first.

    Args:
        device: "cpu" or "cuda" and the like.
        compile: try ``torch.compile`` too, which takes minutes.
        threads: of the CPU.
    """
    half = "bf16" if device == "cpu" else "fp16"
    pairs = [("torch", "fp32"), ("torch", half)]
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnxscript"):
        pairs += [("onnx", "fp32"), ("onnx", "int8")]
        if device != "cpu":
            pairs += [("onnx", "fp16"), *_tensorrt()]
        if device == "cpu" and importlib.util.find_spec("openvino"):
            pairs += [("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8")]
    runtime_configs = [RuntimeConfig(runtime, precision, threads=threads) for runtime, precision in pairs]
    return [*runtime_configs, *([RuntimeConfig("torch", "fp32", True, threads)] if compile else [])]


def _tensorrt() -> list[tuple[str, str]]:
    import onnxruntime

    there = "TensorrtExecutionProvider" in onnxruntime.get_available_providers()
    return [("tensorrt", "fp32"), ("tensorrt", "fp16")] if there else []


def tune(
    source: str | Path,
    *,
    runtime_configs: Sequence[RuntimeConfig],
    images: Sequence[Any],
    labeled: Iterable[Batch] | None = None,
    most_labeled: int = 200,
    batch_size: int = 8,
    seconds: float = 2.0,
    device: str | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Iterator[Trial]:
    """Tries one runtime and precision after the other.

    Args:
        source: a run folder or a model file.
        runtime_configs: what to try; see `candidates`.
        images: real images, at least one, on which speed is measured and outputs are compared.
        labeled: batches on the model's canvas, for the metrics.
        most_labeled: how many of these are used.
        batch_size: images at a time, for the throughput.
        seconds: for how long each measurement is repeated.
        device: where; None for the best there is.
        tell: receives a line before each trial.

    Yields:
        A trial for each, also for one that fails here.

    Raises:
        DataError: there is no image.
    """
    if not images:
        raise DataError("there is no image to measure with; give some with --images")
    model = load(source)
    info = model_info(model)
    real = real_parity_inputs(info, images[: max(COMPARED, batch_size)])
    canvases = _together(real, batch_size)
    batches = None if labeled is None else _first(labeled, most_labeled)
    expected = [run_in_torch(model, EXACT, device)(case.images, case.sizes) for case in real[:COMPARED]]
    for runtime_config in runtime_configs:
        tell(f"trying {runtime_config.name}")
        try:
            yield _try(
                source, model, info, runtime_config, real[:COMPARED], expected, canvases, batches, seconds, device
            )
        except (VertebraError, RuntimeError) as error:
            yield Trial(runtime_config, failure=str(error).strip().splitlines()[0])


def _try(
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
) -> Trial:
    in_torch = runtime_config.runtime == "torch"
    file = model_path(source) if in_torch else exported_file(source, runtime_config.file_precision)
    speed = benchmark_in_subprocess(runtime_config, file, canvases, seconds=seconds, device=device)
    run: Run = (
        run_in_torch(model, runtime_config, device)
        if in_torch
        else open_file_in(source, runtime_config, device=device).run
    )
    shares = [
        agreements(info, case, left, run(case.images, case.sizes)) for case, left in zip(real, expected, strict=True)
    ]
    agreement = min(float(np.mean([share[name] for share in shares])) for name in info.branches)
    metrics = {} if batches is None else _main(info, measure(info, batches, run))
    return Trial(runtime_config, speed.latency, speed.throughput, speed.memory, agreement, metrics)


def _main(info: ModelInfo, scores: Mapping[str, float]) -> dict[str, float]:
    """Each branch's main metric."""
    names = [f"{name}/{get_task(task).monitor}" for name, (task, _) in info.branches.items()]
    return {name: scores[name] for name in names if name in scores}


def best(trials: Sequence[Trial], *, by: str = "latency", metric_loss: float = 0.01, agreement: float = 0.9) -> Trial:
    """The fastest trial that is accurate enough: no metric falls by more than is allowed, or where there is no metric, its
    predictions agree with PyTorch's.

    Args:
        trials: the first is PyTorch in fp32.
        by: "latency" or "throughput".
        metric_loss: how far a branch's main metric may fall.
        agreement: the least agreement with PyTorch in fp32, where there is no metric.
    """
    exact = trials[0]
    fit = [
        trial
        for trial in trials
        if not trial.failure
        and (
            all(exact.metrics[name] - value <= metric_loss for name, value in trial.metrics.items())
            if trial.metrics
            else trial.agreement >= agreement
        )
    ]
    return min(fit or [exact], key=lambda trial: trial.latency if by == "latency" else -trial.throughput)


def _together(real: Sequence[ParityCase], batch_size: int) -> Canvases:
    """A batch of this many of the canvases, of one size; in turns where there are fewer."""
    like = [case for case in real if case.images.shape == real[0].images.shape]
    chosen = [like[row % len(like)] for row in range(batch_size)]
    return np.concatenate([case.images for case in chosen]), np.concatenate([case.sizes for case in chosen])


def _first(batches: Iterable[Batch], most: int) -> list[Batch]:
    """Batches of about this many images."""
    chosen: list[Batch] = []
    for batch in islice(batches, most):
        chosen.append(batch)
        if sum(map(len, chosen)) >= most:
            break
    return chosen
