"""Speed and memory of a model in one runtime, measured in a separate process."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vertebra.errors import RunError
from vertebra.processes import without_script
from vertebra.runtimes.runtime_config import RuntimeConfig

Canvases = tuple[np.ndarray, np.ndarray]  # images (N, C, height, width) uint8 and sizes (N, 2)


class Speed(NamedTuple):
    """Results of a benchmark.

    Attributes:
        latency: median seconds for one image, from its canvas to decoded outputs.
        throughput: images per second in batches.
        memory: peak memory of the process with its libraries, in bytes.
    """

    latency: float
    throughput: float
    memory: int


def benchmark_in_subprocess(
    runtime_config: RuntimeConfig, file: Path, canvases: Canvases, *, seconds: float, device: str | None = None
) -> Speed:
    """Measures in a new process, without libraries and threads of other runtimes.

    Args:
        runtime_config: the runtime and its options.
        file: the model file for torch, else the exported file.
        canvases: a batch; the latency is measured on its first image.
        seconds: duration of each of the two measurements, with at least 5 repetitions.
        device: the device; None for the best one available.

    Raises:
        VertebraError: the runtime fails; the message has the reason.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        with without_script():
            measured = pool.submit(_measure, runtime_config, file, canvases, seconds, device)
        try:
            return measured.result()
        except BrokenProcessPool:
            raise RunError(
                f"the process that measured {runtime_config.name} was killed; most likely memory ran out"
            ) from None


def _measure(
    runtime_config: RuntimeConfig, file: Path, canvases: Canvases, seconds: float, device: str | None
) -> Speed:
    run = _opened(runtime_config, file, device)
    images, sizes = canvases
    latency = _median(lambda: run(images[:1], sizes[:1]), seconds)
    batch = _median(lambda: run(images, sizes), seconds)
    return Speed(latency, len(images) / batch, _peak_memory())


def _opened(runtime_config: RuntimeConfig, file: Path, device: str | None) -> Callable[[np.ndarray, np.ndarray], Any]:
    if runtime_config.runtime != "torch":
        from vertebra.inference.exported_model import ExportedModel

        precision = runtime_config.opening_precision
        return ExportedModel(
            file, runtime=runtime_config.runtime, threads=runtime_config.threads, precision=precision, device=device
        ).run
    from vertebra.inference.predictor import Predictor
    from vertebra.weights.model_file import load

    kind: Any = runtime_config.precision
    predictor = Predictor(
        load(file), device=device, precision=kind, compile=runtime_config.compile, threads=runtime_config.threads
    )
    return lambda images, sizes: predictor.run(images.transpose(0, 2, 3, 1), sizes)


def _median(work: Callable[[], Any], seconds: float) -> float:
    """The median time of a call, after two warm-up calls."""
    for _ in range(2):
        work()
    times: list[float] = []
    while len(times) < 5 or sum(times) < seconds:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _peak_memory() -> int:
    """The largest resident memory of this process so far, in bytes; 0 where the system does not report it."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage on Linux starts from the memory of the parent process
        kilobytes = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(kilobytes) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
