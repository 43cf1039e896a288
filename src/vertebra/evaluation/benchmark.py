"""How fast a way to run a model is, and what memory it takes, measured in a process of its own."""

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
    """What was measured.

    Attributes:
        latency: median seconds for one image, from its canvas to decoded outputs.
        throughput: images a second in batches.
        memory: the process' peak, in bytes, with the libraries that it loads.
    """

    latency: float
    throughput: float
    memory: int


def benchmark_in_subprocess(
    way: RuntimeConfig, file: Path, canvases: Canvases, *, seconds: float, device: str | None = None
) -> Speed:
    """Measures in a fresh process, so that no library of another way is loaded and no thread of it waits.

    Args:
        way: how the model runs.
        file: the model file for torch, else the exported file.
        canvases: a batch; its first image is the one for the latency.
        seconds: for how long each of the two is repeated, at least 5 times.
        device: where; None for the best there is.

    Raises:
        VertebraError: the way does not work here; the message says why.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        with without_script():
            measured = pool.submit(_measure, way, file, canvases, seconds, device)
        try:
            return measured.result()
        except BrokenProcessPool:
            raise RunError(f"the process that measured {way.name} was killed; most likely memory ran out") from None


def _measure(way: RuntimeConfig, file: Path, canvases: Canvases, seconds: float, device: str | None) -> Speed:
    run = _opened(way, file, device)
    images, sizes = canvases
    latency = _median(lambda: run(images[:1], sizes[:1]), seconds)
    batch = _median(lambda: run(images, sizes), seconds)
    return Speed(latency, len(images) / batch, _peak_memory())


def _opened(way: RuntimeConfig, file: Path, device: str | None) -> Callable[[np.ndarray, np.ndarray], Any]:
    if way.runtime != "torch":
        from vertebra.inference.exported_model import ExportedModel

        hint = way.precision if way.runtime == "openvino" else None
        return ExportedModel(file, runtime=way.runtime, threads=way.threads, precision=hint, device=device).run
    from vertebra.inference.predictor import Predictor
    from vertebra.weights.model_file import load

    precision: Any = way.precision
    predictor = Predictor(load(file), device=device, precision=precision, compile=way.compile, threads=way.threads)
    return lambda images, sizes: predictor.run(images.transpose(0, 2, 3, 1), sizes)


def _median(work: Callable[[], Any], seconds: float) -> float:
    """The median time of one call, after two that do not count."""
    for _ in range(2):
        work()
    times: list[float] = []
    while len(times) < 5 or sum(times) < seconds:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _peak_memory() -> int:
    """The largest resident memory of this process so far, in bytes; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage tells on Linux begins with the memory of the process that started this one
        kilobytes = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(kilobytes) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS tells bytes
