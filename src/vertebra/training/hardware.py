"""Checks of a run's hardware options before the model is built: devices, strategy, processes, memory."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.strategies import StrategyRegistry

from vertebra.config import TrainConfig
from vertebra.cpus import usable_cpus
from vertebra.errors import ConfigError, UnknownName

BYTES_PER_PIXEL = 100  # lower bound of a training step's memory for each pixel of a canvas
MAX_WORKERS_PER_CORE = 16
CLUSTER_VARIABLES = ("MASTER_ADDR", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID", "OMPI_COMM_WORLD_RANK", "LSB_JOBID")


class Hardware(NamedTuple):
    """The hardware that a run uses on this machine.

    Attributes:
        device: "cpu", "cuda", "mps" or "tpu".
        processes: of the run on this machine, one a device.
    """

    device: str
    processes: int


def check_hardware(recipe: TrainConfig) -> Hardware:
    """The hardware that a recipe uses on this machine.

    Raises:
        ConfigError: the machine does not have it, or a value is invalid; the message names the option.
    """
    device = _device(recipe.accelerator)
    processes = _processes(recipe, device)
    strategies = ["auto", *StrategyRegistry.available_strategies()]
    if recipe.strategy not in strategies:
        raise UnknownName("train.strategy", recipe.strategy, strategies)
    if recipe.num_nodes > 1 and not any(name in os.environ for name in CLUSTER_VARIABLES):
        raise ConfigError(
            f"train.num_nodes is {recipe.num_nodes}, but the addresses of the other machines are unknown; start with torchrun or "
            "SLURM, or set MASTER_ADDR, MASTER_PORT and NODE_RANK on each"
        )
    limit = MAX_WORKERS_PER_CORE * usable_cpus()
    if recipe.workers is not None and recipe.workers > limit:
        raise ConfigError(
            f"train.workers is {recipe.workers}, and this machine has {usable_cpus()} CPU cores; take at most {limit}"
        )
    return Hardware(device, processes)


def _device(accelerator: str) -> str:
    if accelerator == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kinds = sorted(AcceleratorRegistry.available_accelerators())
    if accelerator not in (*kinds, "gpu"):
        raise UnknownName("train.accelerator", accelerator, ["auto", "gpu", *kinds])
    device = ("mps" if torch.backends.mps.is_available() else "cuda") if accelerator == "gpu" else accelerator
    missing = {"cuda": not torch.cuda.is_available(), "mps": not torch.backends.mps.is_available()}
    if missing.get(device, False):
        raise ConfigError(f"train.accelerator is '{accelerator}', and this machine has none; take cpu, or auto")
    return device


def _processes(recipe: TrainConfig, device: str) -> int:
    """Number of processes on this machine: one a device."""
    devices = recipe.devices
    if devices == "auto":
        return max(1, torch.cuda.device_count()) if device == "cuda" else 1
    numbers = _numbers(devices)
    if device == "tpu":
        return len(numbers) if isinstance(numbers, list) else abs(numbers)
    count = {"cuda": torch.cuda.device_count(), "mps": 1}.get(device, usable_cpus())
    have = f"this machine has {count} {'CPU cores' if device == 'cpu' else 'GPUs'}"
    if isinstance(numbers, list):
        if device == "cpu":
            raise ConfigError(f"train.devices: the list {numbers} names GPUs; on a CPU give a number of processes")
        wrong = [number for number in numbers if not 0 <= number < count]
        if wrong:
            raise ConfigError(f"train.devices: there is no GPU {wrong[0]}, {have}, counted from 0")
        return len(numbers)
    if numbers == -1 and device != "cpu":
        return count
    if numbers < 1:
        raise ConfigError(f"train.devices is {numbers}; give a number from 1 on, or auto")
    if numbers > count and not (device == "cuda" and _one_gpu_a_process()):
        raise ConfigError(f"train.devices is {numbers}, but {have}; take at most {count}, or auto")
    return numbers


def local_device(recipe: TrainConfig, hardware: Hardware) -> torch.device:
    """The device of this process, also before the engine has chosen it: launchers set the process's number on its machine."""
    if hardware.device != "cuda":
        return torch.device({"tpu": "xla"}.get(hardware.device, hardware.device))
    numbers = "auto" if recipe.devices == "auto" else _numbers(recipe.devices)
    gpus = numbers if isinstance(numbers, list) else list(range(torch.cuda.device_count()))
    rank = int(os.environ.get("LOCAL_RANK", 0))
    return torch.device("cuda", gpus[rank] if rank < len(gpus) else gpus[0])


def _one_gpu_a_process() -> bool:
    """Whether torchrun makes only one GPU visible to each process, so that the others cannot be counted."""
    return torch.distributed.is_torchelastic_launched() and torch.cuda.device_count() == 1


def _numbers(devices: int | str | list[int]) -> int | list[int]:
    """A count of devices, or the list of their numbers."""
    numbers: int | list[int]
    if isinstance(devices, str):
        try:
            numbers = [int(part) for part in devices.split(",") if part.strip()] if "," in devices else int(devices)
        except ValueError:
            raise ConfigError(f"train.devices '{devices}' is no number, no list such as 0,1 and not auto") from None
    else:
        numbers = devices
    if isinstance(numbers, list) and (not numbers or len(set(numbers)) < len(numbers)):
        raise ConfigError(f"train.devices: the list {numbers} must name each device once, and at least one")
    return numbers


def check_memory(recipe: TrainConfig, canvas: tuple[int, int], device: str) -> None:
    """Checks that a batch fits into memory, by a lower bound of what training needs.

    Raises:
        ConfigError: it does not; the message names the options.
    """
    images = recipe.batch_size or 1
    need = images * canvas[0] * canvas[1] * BYTES_PER_PIXEL
    have = memory_of(device)
    if have is not None and need > have:
        raise ConfigError(
            f"train.image_size {canvas[0]}x{canvas[1]} with train.batch_size {images} needs more than "
            f"{need / 1e9:.0f} GB, and this machine has {have / 1e9:.0f} GB; take a smaller canvas or batch"
        )


def memory_of(device: str) -> int | None:
    """Bytes of memory of a kind of device, of the GPU or of the machine; None if unknown."""
    if device == "cuda":
        return int(torch.cuda.get_device_properties(0).total_memory)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on every system
        return None
