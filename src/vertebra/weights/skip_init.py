"""Models whose weights will be read from a file are built without drawing random ones first, and no larger than the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

DRAWING = (nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_, Tensor.uniform_, Tensor.normal_, Tensor.erfinv_)
MAKING = {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full, torch.arange, torch.linspace}
SLACK = 256 << 20  # bytes that a model may take beside what its file holds: tables, weights that are tied
MOST = 50_000  # tensors that are made for a model; the largest known need some thousands


class TooLarge(Exception):
    """A header describes a model that its file cannot fill."""


class SkipInit(TorchFunctionMode):
    """Within it tensors keep what happened to be in memory, where code would fill them with random values.

    Args:
        available: bytes of the file; tensors that are made may take a few times as much. A header that was damaged could
            ask for a million channels.
    """

    def __init__(self, available: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.left = 4 * available + SLACK
        self.tensors_left = MOST

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in DRAWING:
            return args[0] if args else kwargs["tensor"]
        if func in MAKING:
            self._count(func, args, kwargs)
        return func(*args, **kwargs)

    def _count(self, func: Callable[..., Tensor], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.left -= func(*args, **{**kwargs, "device": "meta"}).nbytes
        self.tensors_left -= 1
        if self.left < 0 or self.tensors_left < 0:
            raise TooLarge("its header describes a larger model than the file holds")
