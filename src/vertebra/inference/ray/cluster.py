"""A Ray cluster: connecting to it, and how the work is shared among its machines."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from vertebra.cpus import cpu_limit
from vertebra.errors import ConfigError, install_command

PATIENCE = 10.0  # seconds for a machine to answer
FEW = 4  # CPUs of a worker at most, where nothing is said: more of them help one image less and less


class Share(NamedTuple):
    """How many workers there are, and the CPUs and GPUs of each."""

    workers: int
    cpus: int
    gpus: int


def share(
    machines: Sequence[Mapping[str, float]], *, workers: int | None, threads: int | None, gpu: bool | None
) -> Share:
    """How the work is shared.

    Args:
        machines: of each, what it has: "CPU" and "GPU", how many.
        workers: how many a user wants; None for as many as fit.
        threads: CPUs of each; None for what makes use of most CPUs, at most 4 where the number of workers is free too.
        gpu: whether each worker has a GPU; None: where there are any.

    Raises:
        ConfigError: no machine has what one worker needs.
    """
    cpus = [int(machine.get("CPU", 0)) for machine in machines]
    gpus = [int(machine.get("GPU", 0)) for machine in machines]
    each = 1 if gpu or (gpu is None and any(gpus)) else 0
    if each and not any(gpus):
        raise ConfigError("the Ray cluster has no GPU; leave out --device, or say --device cpu")

    def fit(size: int) -> int:
        return sum(min(own // size, has if each else own) for own, has in zip(cpus, gpus, strict=True))

    most = max(cpus, default=0)
    sizes = range(1, (most if workers is not None else min(most, FEW)) + 1)
    wished = workers or each * sum(gpus)  # as many of these as can be, and then as many CPUs in use
    size = threads or max(
        sizes, key=lambda size: (min(fit(size), wished), size * min(fit(size), wished or fit(size)), size), default=1
    )
    if not fit(size):
        raise ConfigError(f"a worker needs {size} CPUs, but no machine of the Ray cluster has as many to give: {cpus}")
    return Share(workers or fit(size), size, each)


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """The module ``ray``, connected to a cluster. What was connected or started here ends with it; where the process is
    connected already, it stays so.

    Args:
        address: "auto" for the cluster that this machine is part of, "host:port", "ray://host:port", or "local" to start one
            here; None for what RAY_ADDRESS says, else "local".

    Raises:
        ConfigError: Ray is not installed, or there is no such cluster.
    """
    for name in ("ray", "pyarrow"):
        if importlib.util.find_spec(name) is None:
            raise ConfigError(f"this needs Ray, but '{name}' is not installed: {install_command('ray')}")
    import ray

    if ray.is_initialized():
        yield ray
        return
    wanted = address or os.environ.get("RAY_ADDRESS") or "local"
    _check_that_it_answers(wanted)
    own: dict[str, Any] = {}
    if wanted == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # the daemons that are started tell nobody of it
        own = {"include_dashboard": False, "num_cpus": cpu_limit()}
    try:
        ray.init(address=wanted, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise ConfigError(f"no Ray cluster at '{wanted}': {_first_sentence(error)}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_that_it_answers(address: str) -> None:
    """Ray itself waits for minutes for a machine that is not there."""
    found = re.fullmatch(r"(?:ray://)?\[?([^/\[\]]+)\]?:(\d+)", address)
    if found is None:
        return
    try:
        socket.create_connection((found[1], int(found[2])), timeout=PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(f"no Ray cluster at '{address}': nothing answers there ({error})") from None


def _first_sentence(error: BaseException) -> str:
    """What an error says, without the tracebacks that Ray adds."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
