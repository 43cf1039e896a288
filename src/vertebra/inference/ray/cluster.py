"""Connects to a Ray cluster, and plans the workers on its machines."""

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

CONNECT_TIMEOUT = 10.0  # seconds
MAX_DEFAULT_CPUS = 4  # default maximum of a worker's CPUs: more speed up single images only slightly


class WorkerPlan(NamedTuple):
    """The number of workers, and the CPUs and GPUs of each worker."""

    workers: int
    cpus: int
    gpus: int


def plan_workers(
    machines: Sequence[Mapping[str, float]], *, workers: int | None, threads: int | None, gpu: bool | None
) -> WorkerPlan:
    """Plans the workers.

    Args:
        machines: the resources of each machine, "CPU" and "GPU".
        workers: the number of workers; None for as many as possible.
        threads: CPUs of each worker; None to use as many CPUs as possible, at most 4 each if the number of workers is free too.
        gpu: whether each worker has a GPU; None: if the cluster has any.

    Raises:
        ConfigError: no machine has the resources for one worker.
    """
    cpus = [int(machine.get("CPU", 0)) for machine in machines]
    gpus = [int(machine.get("GPU", 0)) for machine in machines]
    gpus_each = 1 if gpu or (gpu is None and any(gpus)) else 0
    if gpus_each and not any(gpus):
        raise ConfigError("the Ray cluster has no GPU; leave out the device, or use the device cpu")

    def fit(worker_cpus: int) -> int:
        return sum(
            min(machine_cpus // worker_cpus, machine_gpus if gpus_each else machine_cpus)
            for machine_cpus, machine_gpus in zip(cpus, gpus, strict=True)
        )

    max_cpus = max(cpus, default=0)
    sizes = range(1, (max_cpus if workers is not None else min(max_cpus, MAX_DEFAULT_CPUS)) + 1)
    target = workers or gpus_each * sum(gpus)  # first maximize the number of workers up to this, then the CPUs in use
    worker_cpus = threads or max(
        sizes,
        key=lambda worker_cpus: (
            min(fit(worker_cpus), target),
            worker_cpus * min(fit(worker_cpus), target or fit(worker_cpus)),
            worker_cpus,
        ),
        default=1,
    )
    if not fit(worker_cpus):
        raise ConfigError(f"a worker needs {worker_cpus} CPUs, but no machine of the Ray cluster has as many: {cpus}")
    return WorkerPlan(workers or fit(worker_cpus), worker_cpus, gpus_each)


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """The module ``ray``, connected to a cluster. A connection or cluster started here is closed at the end; an existing
    connection of the process is used and kept.

    Args:
        address: "auto" for the cluster of this machine, "host:port", "ray://host:port", or "local" to start one here; None for
            RAY_ADDRESS, else "local".

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
    cluster = address or os.environ.get("RAY_ADDRESS") or "local"
    _check_reachable(cluster)
    options: dict[str, Any] = {}
    if cluster == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage reports from daemons that are started here
        options = {"include_dashboard": False, "num_cpus": cpu_limit()}
    try:
        ray.init(address=cluster, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise ConfigError(f"no Ray cluster at '{cluster}': {_first_sentence(error)}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Checks quickly that the cluster is reachable: Ray itself waits for minutes for an unreachable machine."""
    match = re.fullmatch(r"(?:ray://)?\[?([^/\[\]]+)\]?:(\d+)", address)
    if match is None:
        return
    try:
        socket.create_connection((match[1], int(match[2])), timeout=CONNECT_TIMEOUT).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(f"no Ray cluster at '{address}': no answer ({error})") from None


def _first_sentence(error: BaseException) -> str:
    """The first line of an error, without the tracebacks that Ray adds."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
