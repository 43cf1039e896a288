"""Where the results of convolutions go, seen by running a model once."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as tree

CONVOLUTIONS = (torch.conv2d, torch.conv_transpose2d)
ASKED = {"__get__", "__len__", "dim", "is_contiguous", "is_floating_point", "numel", "size", "stride"}
"""Calls that read no value of a tensor; ``__get__`` is its shape or device."""


class Watch(TorchFunctionMode):
    """Notes which modules read the results of convolutions while a model runs.

    Convolutions are told by their tensors: one whose weight is made anew at each call (weight standardisation) is not taken
    for its module.

    Args:
        root: the model.
    """

    def __init__(self, root: nn.Module) -> None:
        super().__init__()
        self.convolutions: dict[int, nn.Module] = {
            id(module.weight): module
            for module in root.modules()
            if isinstance(module, nn.Conv2d) or (isinstance(module, nn.ConvTranspose2d) and module.groups == 1)
        }
        self.results: dict[int, tuple[Tensor, nn.Module]] = {}
        self.calls: dict[nn.Module, int] = defaultdict(int)
        self.readers: dict[nn.Module, list[nn.Module | None]] = defaultdict(list)
        self.reader_calls: dict[nn.Module, int] = defaultdict(int)

    @abstractmethod
    def reader(self, func: Any, args: Any) -> nn.Module | None:
        """The module that a call belongs to, if it is one of those that are looked for."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if getattr(func, "__name__", "") in ASKED:
            return result
        reader = self.reader(func, args)
        if reader is not None:
            self.reader_calls[reader] += 1
        for value in tree.tree_leaves((args, kwargs)):
            found = self.results.get(id(value)) if isinstance(value, Tensor) else None
            if found is not None:
                self.readers[found[1]].append(reader if value is args[0] else None)
        if reader is not None and result is args[0]:
            self.results.pop(id(result), None)  # changed in place: from here on it is the reader's result
        module = self.convolutions.get(id(args[1])) if func in CONVOLUTIONS else None
        if module is not None:
            self.calls[module] += 1
            self.results[id(result)] = (result, module)  # kept, so that no other tensor gets its id
        return result

    def pairs(self, outputs: Any) -> list[tuple[nn.Module, nn.Module]]:
        """Each convolution all of whose results went into one reader and nowhere else, with this reader, which read nothing
        else.

        Args:
            outputs: what the model gave.
        """
        given = {id(value) for value in tree.tree_leaves(outputs)}
        shown = {module for key, (_, module) in self.results.items() if key in given}
        return [
            (module, reader)
            for module, readers in self.readers.items()
            if (reader := readers[0]) is not None
            and module not in shown
            and readers == [reader] * self.calls[module]
            and self.reader_calls[reader] == self.calls[module]
        ]
