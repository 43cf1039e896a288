"""Traces the data flow between layers during a run of the model: which modules read the outputs of convolutions."""

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
METADATA_CALLS = {"__get__", "__len__", "dim", "is_contiguous", "is_floating_point", "numel", "size", "stride"}
"""Calls that read only a tensor's metadata; ``__get__`` reads an attribute such as its shape or device, if it returns no tensor."""
PYTHON_VALUES = (
    bool,
    int,
    float,
    list,
    np.ndarray,
)  # types of results that hold a tensor's values, on which code may branch


class DataflowTrace(TorchFunctionMode):
    """Records which modules read the outputs of convolutions while a model runs.

    Convolutions are recognized by their tensors: one whose weight is computed at each call (weight standardization, weight
    normalization, any parametrization) is never recognized, nor are two that share a weight.

    Args:
        root: the model.

    Attributes:
        exposed: convolutions whose weight another operation reads too.
        fusable: the pairs of `pairs`, after the run.
        running: foreign modules that run now, outermost first.
        unpredictable: modules run by foreign code that reads values of tensors: its path may depend on the image.
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
        self._reported = False  # whether the operators that run now belong to a recorded call
        self.results: dict[int, tuple[Tensor, nn.Module]] = {}
        self.calls: dict[nn.Module, int] = defaultdict(int)
        self.readers: dict[nn.Module, list[nn.Module | None]] = defaultdict(list)
        self.reader_calls: dict[nn.Module, int] = defaultdict(int)
        self.exposed: set[nn.Module] = set()
        self.fusable: list[tuple[nn.Module, nn.Module]] = []

    @abstractmethod
    def reader(self, func: Any, args: Any) -> nn.Module | None:
        """The module that makes a call, if it is one of the readers that this class traces."""

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
        if getattr(func, "__name__", "") in METADATA_CALLS and not isinstance(result, Tensor):
            return result
        if self.running and isinstance(result, PYTHON_VALUES) and not _holds_tensors(result):
            self.unpredictable |= {module for owner in self.running for module in modules_run_by(owner)}
        reader = self.reader(func, args)
        if reader is not None:
            self.reader_calls[reader] += 1
        for value in tree.tree_leaves((args, kwargs)):
            producer = self.results.get(id(value)) if isinstance(value, Tensor) else None
            if producer is not None:
                self.readers[producer[1]].append(reader if args and value is args[0] else None)
        if reader is not None and args and result is args[0]:
            self.results.pop(id(result), None)  # changed in place: now it is the reader's output
        module = None if weight is None else self.convolutions.get(id(weight))
        if module is not None:
            self.calls[module] += 1
            self.results[id(result)] = (result, module)  # kept, so that no other tensor gets its id
        return result

    def note_unreported(self, values: Iterable[Any]) -> None:
        """Records an operator of compiled code, which `torch.overrides` does not intercept, as an unknown reader.

        Args:
            values: its arguments.
        """
        for value in values:
            producer = None if self._reported else self.results.get(id(value))
            if producer is not None:
                self.readers[producer[1]].append(None)

    def pairs(self, outputs: Any) -> list[tuple[nn.Module, nn.Module]]:
        """Pairs (convolution, reader) where the reader is the only one to read the convolution's outputs, and reads nothing else.

        Args:
            outputs: of the model.
        """
        output_ids = {id(value) for value in tree.tree_leaves(outputs)}
        returned = {module for key, (_, module) in self.results.items() if key in output_ids}
        return [
            (module, reader)
            for module, readers in self.readers.items()
            if (reader := readers[0]) is not None
            and module not in returned
            and not {module, reader} & self.unpredictable
            and readers == [reader] * self.calls[module]
            and self.reader_calls[reader] == self.calls[module]
        ]


def _holds_tensors(values: Any) -> bool:
    return isinstance(values, list) and any(isinstance(value, Tensor) for value in values)


Kind = TypeVar("Kind", bound=DataflowTrace)


def trace_runs(
    trace_class: Callable[[nn.Module], Kind], model: nn.Module, runs: Sequence[Callable[[], Any]]
) -> list[Kind]:
    """The trace of each run of a model, without gradients; `DataflowTrace.fusable` holds the pairs."""
    traces = []
    foreign = [module for module in model.modules() if is_foreign(module)]
    untracked = bool(foreign) or any(is_altered(module) for module in model.modules())
    for run in runs:
        trace = trace_class(model)
        hooks = [hook for module in foreign for hook in _note_running(module, trace.running)]
        operator_mode: AbstractContextManager[Any] = _Operators(trace) if untracked else nullcontext()
        try:
            with torch.no_grad(), operator_mode, trace:  # type: ignore[no-untyped-call]
                outputs = run()
        finally:
            for hook in hooks:
                hook.remove()
        trace.fusable = trace.pairs(outputs)
        traces.append(trace)
    return traces


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Reports every operator to a trace, including those of TorchScript and C++."""

    def __init__(self, trace: DataflowTrace) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = trace

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.trace.note_unreported(tree.tree_leaves((args, kwargs or {})))
        return func(*args, **(kwargs or {}))


def _note_running(module: nn.Module, running: list[nn.Module]) -> list[Any]:
    """Registers hooks that add a module to a list while it runs."""

    def entered(module: nn.Module, args: Any) -> None:
        running.append(module)

    def left(module: nn.Module, args: Any, result: Any) -> None:
        running.pop()

    return [
        module.register_forward_pre_hook(entered, prepend=True),
        module.register_forward_hook(left, always_call=True),
    ]


def by_tensor(name: str, modules: Iterable[nn.Module]) -> dict[int, nn.Module]:
    """Modules by the id of the tensor registered under this name; without tensors that several modules share."""
    owners = [
        (module, value)
        for module in modules
        if (value := module._parameters.get(name, module._buffers.get(name))) is not None
    ]
    counts = Counter(id(value) for _, value in owners)
    return {id(value): module for module, value in owners if counts[id(value)] == 1}


def common_pairs(traces: Sequence[DataflowTrace]) -> list[tuple[nn.Module, nn.Module]]:
    """The pairs that occur in every run: the reader of a convolution may depend on the image size."""
    return [pair for pair in traces[0].fusable if all(pair in trace.fusable for trace in traces[1:])]


def unique_parents(root: nn.Module, skip: Collection[nn.Module] = ()) -> dict[nn.Module, tuple[nn.Module, str]]:
    """The parent of each module and its name there, for modules that the model contains once.

    Args:
        root: the model.
        skip: modules to leave out.
    """
    parents: dict[nn.Module, list[tuple[nn.Module, str]]] = defaultdict(list)
    for parent in root.modules():
        for name, child in parent._modules.items():
            if child is not None:
                parents[child].append((parent, name))
    return {child: entries[0] for child, entries in parents.items() if len(entries) == 1 and child not in skip}
