"""Where the results of convolutions go, seen by running a model once."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as tree

CONVOLUTIONS = (torch.conv2d, torch.conv_transpose2d)
ASKED = {"__get__", "__len__", "dim", "is_contiguous", "is_floating_point", "numel", "size", "stride"}
"""Calls that read no value of a tensor; ``__get__`` is its shape or device, if it gives no tensor."""


class Watch(TorchFunctionMode):
    """Notes which modules read the results of convolutions while a model runs.

    Convolutions are told by their tensors: one whose weight is made anew at each call (weight standardization) is not taken
    for its module.

    Args:
        root: the model.

    Attributes:
        exposed: convolutions whose weight something else asked for as well.
        found: the pairs, when the run is over.
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
        self.exposed: set[nn.Module] = set()
        self.found: list[tuple[nn.Module, nn.Module]] = []

    @abstractmethod
    def reader(self, func: Any, args: Any) -> nn.Module | None:
        """The module that a call belongs to, if it is one of those that are looked for."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        weight = (args[1] if len(args) > 1 else kwargs.get("weight")) if func in CONVOLUTIONS else None
        for value in tree.tree_leaves((args, kwargs)):
            if value is not weight and id(value) in self.convolutions:
                self.exposed.add(self.convolutions[id(value)])
        if getattr(func, "__name__", "") in ASKED and not isinstance(result, Tensor):
            return result
        reader = self.reader(func, args)
        if reader is not None:
            self.reader_calls[reader] += 1
        for value in tree.tree_leaves((args, kwargs)):
            found = self.results.get(id(value)) if isinstance(value, Tensor) else None
            if found is not None:
                self.readers[found[1]].append(reader if args and value is args[0] else None)
        if reader is not None and args and result is args[0]:
            self.results.pop(id(result), None)  # changed in place: from here on it is the reader's result
        module = None if weight is None else self.convolutions.get(id(weight))
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


Kind = TypeVar("Kind", bound=Watch)


def watched(kind: Callable[[nn.Module], Kind], model: nn.Module, runs: Sequence[Callable[[], Any]]) -> list[Kind]:
    """What was seen in each run of a model, gradients aside; `Watch.found` are the pairs."""
    seen = []
    for run in runs:
        with torch.no_grad(), kind(model) as watch:  # type: ignore[no-untyped-call]
            outputs = run()
        watch.found = watch.pairs(outputs)
        seen.append(watch)
    return seen


def agreed(seen: Sequence[Watch]) -> list[tuple[nn.Module, nn.Module]]:
    """The pairs that every run showed: what follows a convolution may depend on the size of the image."""
    return [pair for pair in seen[0].found if all(pair in other.found for other in seen[1:])]


def single_places(root: nn.Module) -> dict[nn.Module, tuple[nn.Module, str]]:
    """The parent of each module and its name there, of those that stand in one place only."""
    places: dict[nn.Module, list[tuple[nn.Module, str]]] = defaultdict(list)
    for parent in root.modules():
        for name, child in parent._modules.items():
            if child is not None:
                places[child].append((parent, name))
    return {child: found[0] for child, found in places.items() if len(found) == 1}
