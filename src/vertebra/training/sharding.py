"""Fully sharded data parallel training (FSDP): each process keeps a part of each weight, of its gradient and of its optimizer
state, and gathers the weights of a block when it computes with it (Zhao et al., VLDB 2023, arXiv 2304.11277)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from vertebra.config import TrainConfig
from vertebra.errors import ConfigError
from vertebra.model import VisionModel
from vertebra.training.buffers import copy_from_first_process

FSDP = "fsdp"
MIN_WEIGHTS = 1_000_000  # of a block that is gathered by itself


def is_sharded(recipe: TrainConfig) -> bool:
    """Whether a recipe trains with FSDP."""
    return recipe.strategy == FSDP


def check_sharding(recipe: TrainConfig, processes: int, branches: int) -> None:
    """Checks that a recipe can train with FSDP.

    Args:
        processes: of the run, on all machines.
        branches: of the model.

    Raises:
        ConfigError: it cannot; the message names the option.
    """
    if not is_sharded(recipe):
        return
    if processes == 1:
        raise ConfigError("train.strategy: fsdp divides the weights among devices, and there is one; take auto")
    if branches > 1:
        raise ConfigError(
            f"train.strategy: fsdp needs the same gradients in all processes, and of {branches} branches a process may have no "
            "labels for one; take ddp_find_unused_parameters_true, or auto"
        )
    if recipe.compile:
        raise ConfigError("train.compile and train.strategy fsdp exclude each other; leave one out")
    if recipe.precision == "16-mixed":
        raise ConfigError("train.precision: fsdp has no 16-mixed; take bf16-mixed or 32")


def make_strategy(processes: int) -> Any:
    """Lightning's strategy for FSDP; its checkpoints hold whole weights.

    Args:
        processes: of the run, on all machines.
    """
    from lightning.pytorch.strategies import ModelParallelStrategy

    return ModelParallelStrategy(
        data_parallel_size=processes, tensor_parallel_size=1, save_distributed_checkpoint=False
    )


def shard(model: VisionModel, mesh: Any) -> None:
    """Divides the weights of a model among processes, in place; all have those of the first before.

    Args:
        model: on the device of this process.
        mesh: the processes, a one-dimensional ``DeviceMesh``.
    """
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    copy_from_first_process(list(model.parameters()))
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # others cannot be divided
    for block in _blocks(model.backbone):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "loss")


def _blocks(module: nn.Module) -> list[nn.Module]:
    """The modules of a network's sequences that have many weights, the innermost ones."""
    blocks: list[nn.Module] = []
    for inner in module.modules():
        if isinstance(inner, nn.Sequential | nn.ModuleList):
            for block in inner:
                nested = any(
                    isinstance(part, nn.Sequential | nn.ModuleList) and part is not block for part in block.modules()
                )
                large = sum(parameter.numel() for parameter in block.parameters()) >= MIN_WEIGHTS
                if large and not nested and not isinstance(block, nn.Sequential | nn.ModuleList):
                    blocks.append(block)
    return blocks


@torch.no_grad()
def gather(sharded: nn.Module, whole: nn.Module) -> None:
    """Copies the whole weights of a sharded model to another one like it; all processes must call it."""
    targets = whole.state_dict()
    for name, value in sharded.state_dict().items():
        targets[name].copy_(full(value))


def local(value: Tensor) -> Tensor:
    """This process's part of a sharded tensor; another tensor itself."""
    return value.to_local() if isinstance(value, DTensor) else value  # type: ignore[no-untyped-call]


def full(value: Tensor) -> Tensor:
    """The whole of a sharded tensor, which all processes must ask for; another tensor itself."""
    return value.full_tensor() if isinstance(value, DTensor) else value  # type: ignore[no-untyped-call]
