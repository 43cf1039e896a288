"""Where the results of convolutions go, seen by running a model once."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as tree
from torch.utils._python_dispatch import TorchDispatchMode

from vertebra.optimize.foreign_modules import is_altered, is_foreign, modules_run_by

CONVOLUTIONS = (torch.conv2d, torch.conv_transpose2d)
ASKED = {"__get__", "__len__", "dim", "is_contiguous", "is_floating_point", "numel", "size", "stride"}
"""Calls that read no value of a tensor; ``__get__`` is its shape or device, if it gives no tensor."""
VALUES = (
    bool,
    int,
    float,
    list,
    np.ndarray,
)  # results of calls that take values out of a tensor, for code to branch on


class Watch(TorchFunctionMode):
    """Notes which modules read the results of convolutions while a model runs.

    Convolutions are recognized by their tensors: one whose weight is computed at each call (weight standardization, weight
    normalization, any parametrization) is never recognized, nor are two that share a weight.

    Args:
        root: the model.

    Attributes:
        exposed: convolutions whose weight something else asked for as well.
        found: the pairs, when the run is over.
        running: modules of foreign code that run now, from the outermost on.
        unpredictable: modules that foreign code runs which branches on values, so that other images may take another path.
    """

    def __init__(self, root: nn.Module) -> None:
        super().__init__()
        self.convolutions: dict[int, nn.Module] = by_tensor(
            "weight",
            (
                module
                for module in root.modules()
                if isinstance(module, nn.Conv2d) or (isinstance(module, nn.ConvTranspose2d) and module.groups == 1)
            ),
        )
        self.running: list[nn.Module] = []
        self.unpredictable: set[nn.Module] = set()
        self._reported = False  # whether the operators that run now belong to a call that was noted
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
        self._reported = True
        try:
            result = func(*args, **kwargs)
        finally:
            self._reported = False
        weight = (args[1] if len(args) > 1 else kwargs.get("weight")) if func in CONVOLUTIONS else None
        for value in tree.tree_leaves((args, kwargs)):
            if value is not weight and id(value) in self.convolutions:
                self.exposed.add(self.convolutions[id(value)])
        if getattr(func, "__name__", "") in ASKED and not isinstance(result, Tensor):
            return result
        if self.running and isinstance(result, VALUES) and not _holds_tensors(result):
            self.unpredictable |= {module for owner in self.running for module in modules_run_by(owner)}
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

    def note_unreported(self, values: Iterable[Any]) -> None:
        """Notes an operator of compiled code, which `torch.overrides` does not show, as an unknown reader.

        Args:
            values: its arguments.
        """
        for value in values:
            found = None if self._reported else self.results.get(id(value))
            if found is not None:
                self.readers[found[1]].append(None)

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
            and not {module, reader} & self.unpredictable
            and readers == [reader] * self.calls[module]
            and self.reader_calls[reader] == self.calls[module]
        ]


def _holds_tensors(values: Any) -> bool:
    return isinstance(values, list) and any(isinstance(value, Tensor) for value in values)


Kind = TypeVar("Kind", bound=Watch)


def watched(kind: Callable[[nn.Module], Kind], model: nn.Module, runs: Sequence[Callable[[], Any]]) -> list[Kind]:
    """What was seen in each run of a model, gradients aside; `Watch.found` are the pairs."""
    seen = []
    foreign = [module for module in model.modules() if is_foreign(module)]
    beyond = bool(foreign) or any(is_altered(module) for module in model.modules())
    for run in runs:
        watch = kind(model)
        hooks = [hook for module in foreign for hook in _note_running(module, watch.running)]
        below: AbstractContextManager[Any] = _Operators(watch) if beyond else nullcontext()
        try:
            with torch.no_grad(), below, watch:  # type: ignore[no-untyped-call]
                outputs = run()
        finally:
            for hook in hooks:
                hook.remove()
        watch.found = watch.pairs(outputs)
        seen.append(watch)
    return seen


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Shows a watch every operator, also those of TorchScript and of C++."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.watch = watch

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.watch.note_unreported(tree.tree_leaves((args, kwargs or {})))
        return func(*args, **(kwargs or {}))


def _note_running(module: nn.Module, running: list[nn.Module]) -> list[Any]:
    """Hooks that keep a module in a list while it runs."""

    def entered(module: nn.Module, args: Any) -> None:
        running.append(module)

    def left(module: nn.Module, args: Any, result: Any) -> None:
        running.pop()

    return [
        module.register_forward_pre_hook(entered, prepend=True),
        module.register_forward_hook(left, always_call=True),
    ]


def by_tensor(name: str, modules: Iterable[nn.Module]) -> dict[int, nn.Module]:
    """Modules by the id of a tensor of theirs, where the tensor is registered under this name and belongs to one module only."""
    owners = [
        (module, value)
        for module in modules
        if (value := module._parameters.get(name, module._buffers.get(name))) is not None
    ]
    counts = Counter(id(value) for _, value in owners)
    return {id(value): module for module, value in owners if counts[id(value)] == 1}


def agreed(seen: Sequence[Watch]) -> list[tuple[nn.Module, nn.Module]]:
    """The pairs that every run showed: what follows a convolution may depend on the size of the image."""
    return [pair for pair in seen[0].found if all(pair in other.found for other in seen[1:])]


def single_places(root: nn.Module, skip: Collection[nn.Module] = ()) -> dict[nn.Module, tuple[nn.Module, str]]:
    """The parent of each module and its name there, of those that stand in one place only.

    Args:
        root: the model.
        skip: modules that are left out.
    """
    places: dict[nn.Module, list[tuple[nn.Module, str]]] = defaultdict(list)
    for parent in root.modules():
        for name, child in parent._modules.items():
            if child is not None:
                places[child].append((parent, name))
    return {child: found[0] for child, found in places.items() if len(found) == 1 and child not in skip}
