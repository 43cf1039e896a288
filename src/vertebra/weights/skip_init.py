"""Builds models whose weights are read from a file, without random initialization and within a memory limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

RANDOM_INIT = (
    nn.init.uniform_,
    nn.init.normal_,
    nn.init.kaiming_uniform_,
    Tensor.uniform_,
    Tensor.normal_,
    Tensor.erfinv_,
)
FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full, torch.arange, torch.linspace}
SLACK = 256 << 20  # bytes that a model may need beyond its file: tables, tied weights
MAX_TENSORS = 50_000  # created while a model is built; the largest known models need some thousands


class TooLarge(Exception):
    """A header describes a larger model than its file can hold."""


class SkipInit(TorchFunctionMode):
    """A context in which random initialization is skipped: tensors keep their uninitialized memory.

    Args:
        available: bytes of the file; the tensors of the model may take a few times as much. This bounds what a damaged
            header, such as one with a million channels, can allocate.
    """

    def __init__(self, available: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.left = 4 * available + SLACK
        self.tensors_left = MAX_TENSORS

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in RANDOM_INIT:
            return args[0] if args else kwargs["tensor"]
        if func in FACTORIES:
            self._count(func, args, kwargs)
        return func(*args, **kwargs)

    def _count(self, func: Callable[..., Tensor], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.left -= func(*args, **{**kwargs, "device": "meta"}).nbytes
        self.tensors_left -= 1
        if self.left < 0 or self.tensors_left < 0:
            raise TooLarge("its header describes a larger model than the file holds")
