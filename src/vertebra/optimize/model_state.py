"""Detects whether a model has changed, in a fraction of a millisecond, so that each call of ``predict`` can check it."""

from __future__ import annotations

import copy
import dataclasses
import functools
import logging
import operator
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version
from torch.optim.optimizer import register_optimizer_step_post_hook

from vertebra.optimize.model_itself import GLOBAL_HOOKS

ATOMS = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs")
INTERNAL = frozenset(vars(nn.Module()))  # attributes that PyTorch keeps of each module
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.int64}  # by bytes of an element
LEVELS = 3  # of containers in which tensors and arrays are searched; a dataclass has two
MAX_BYTES = 1 << 20  # of the arrays that are compared in each call

LOGGER = logging.getLogger(__name__)


class NotObservable(Exception):
    """Changes of a model cannot be detected."""


class ModelState:
    """A snapshot of everything that the outputs of a model in evaluation mode depend on.

    It detects replaced modules, parameters and buffers; values changed in place, by PyTorch's version counters, also by fused
    optimizers; replaced attributes, and changes inside attributes that are lists, dicts, dataclasses, tensors or small NumPy
    arrays; added and removed hooks, also those for all modules. PyTorch does not count changes through ``parameter.data``: on a
    CPU they are detected if they change the first, middle or last element of a tensor. Training mode is ignored, because
    prediction always runs in evaluation mode. Attributes of the model itself (not of its submodules) whose names begin with an
    underscore are ignored too.

    Args:
        model: its parameters and buffers were not made in inference mode. The snapshot keeps its submodules alive, but not the
            model.
    """

    def __init__(self, model: nn.Module) -> None:
        count_fused_steps()
        modules = list(model.modules())
        self._modules = modules[1:]
        self._attributes = [vars(module) for module in self._modules]
        self._attributes_then = [dict(table) for table in self._attributes]
        self._root_then = _root_attributes(model)
        tables_of_children = [module._modules for module in modules]
        self._children = [
            table for table in tables_of_children if isinstance(table, dict)
        ]  # TorchScript has its own type
        self._children_then = [dict(table) for table in self._children]
        self._hooks = [*GLOBAL_HOOKS, *(getattr(module, name) for module in modules for name in HOOKS)]
        self._hooks_then = [dict(table) for table in self._hooks]
        self._tables = [table for module in modules for table in (module._parameters, module._buffers)]
        self._tensors = list(_values(self._tables))
        attributes = [*self._attributes_then, self._root_then]
        direct = [value for table in attributes for name, value in table.items() if name not in INTERNAL]
        values = [content for value in direct for content in _contents(value, LEVELS)]
        loose = [value for value in values if isinstance(value, Tensor)]
        tensors = [value for value in self._tensors if value is not None]
        uncounted = [value for value in loose if value.is_inference()]
        self._counted = [value for value in (*tensors, *loose) if not value.is_inference()]
        self._addressed = [value for value in self._counted if _has_address(value)]
        self._counts, self._addresses = self._versions()
        self._arrays = [value for value in values if isinstance(value, np.ndarray)]
        self._arrays += [value.numpy() for value in uncounted]
        if sum(array.nbytes for array in self._arrays) > MAX_BYTES:
            raise NotObservable
        self._arrays_then = self._bytes()
        pairs = [(value, copied) for value in values if (copied := _snapshot(value)) is not None]
        self._containers, self._containers_then = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        self._samples = [sample for value in self._tensors if value is not None for sample in _samples(value)]
        self._samples_then = [memory[index] for memory, index in self._samples]

    def holds(self, model: nn.Module) -> bool:
        """Whether the model is unchanged.

        Args:
            model: the model of the snapshot.
        """
        try:
            return (
                self._children == self._children_then
                and self._same_tensors()
                and self._versions() == (self._counts, self._addresses)
                and self._hooks == self._hooks_then
                and self._same_attributes()
                and _root_attributes(model) == self._root_then
                and self._containers == self._containers_then
                and [memory[index] for memory, index in self._samples] == self._samples_then
                and self._bytes() == self._arrays_then
            )
        except Exception:  # such as of two tensors that are compared because one has replaced the other
            return False

    def _same_tensors(self) -> bool:
        now = list(_values(self._tables))
        return len(now) == len(self._tensors) and all(map(operator.is_, now, self._tensors))

    def _versions(self) -> tuple[list[int], list[int]]:
        """The version counters and the memory addresses of the tensors."""
        return [value._version for value in self._counted], [value.data_ptr() for value in self._addressed]

    def _bytes(self) -> list[tuple[Any, ...]]:
        """The content of the arrays."""
        return [(array.shape, array.dtype, array.tobytes()) for array in self._arrays]

    def _same_attributes(self) -> bool:
        if self._attributes == self._attributes_then:
            return True
        return all(
            now == then or {**now, "training": then.get("training")} == then
            for now, then in zip(self._attributes, self._attributes_then, strict=True)
        )


def current_state(model: nn.Module, known: ModelState | None) -> ModelState | None:
    """The known state if the model is unchanged, else a new one; None if changes of the model cannot be detected, such as of one
    made in inference mode, whose tensors have no version counters."""
    if known is not None and known.holds(model):
        return known
    if any(value.is_inference() for value in (*model.parameters(), *model.buffers())):
        return None
    try:
        return ModelState(model)
    except Exception:  # attributes of foreign modules may be of any kind
        LOGGER.debug("changes of the model cannot be detected", exc_info=True)
        return None


@functools.cache
def count_fused_steps() -> None:
    """From now on steps of fused optimizers raise the version counters of the parameters, as those of all other optimizers do."""
    register_optimizer_step_post_hook(_count_fused_step)


def _count_fused_step(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
    for group in optimizer.param_groups:
        if group.get("fused"):
            increment_version([value for value in group["params"] if value.grad is not None])


def _values(tables: Iterable[dict[str, Any]]) -> Iterator[Tensor | None]:
    return chain.from_iterable(table.values() for table in tables)


def _root_attributes(model: nn.Module) -> dict[str, Any]:
    """The attributes of the model itself that are compared."""
    return {name: value for name, value in vars(model).items() if not (name.startswith("_") or name == "training")}


def _contents(value: Any, levels: int) -> Iterator[Any]:
    """A value and the values in it, if it is a list, a dict, a dataclass or the like."""
    yield value
    if levels and not _is_plain_at_any_depth(value):
        inner: Iterable[Any] = ()
        if isinstance(value, dict):
            inner = value.values()
        elif isinstance(value, list | tuple | set):
            inner = value
        elif _is_record(value) and hasattr(value, "__dict__"):
            inner = [vars(value)]
        for item in inner:
            yield from _contents(item, levels - 1)


def _snapshot(value: Any) -> Any | None:
    """A copy of a container, to detect changes of its content; None for values that cannot change or cannot be compared."""
    if isinstance(value, ATOMS) or not (isinstance(value, list | dict | set | tuple) or _is_record(value)):
        return None
    if _is_plain_at_any_depth(value):
        copied = copy.deepcopy(value)
    elif isinstance(value, list | dict | set):
        copied = value.copy()
    else:
        return None
    return copied if copied is not value and copied == value else None


def _is_record(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _is_plain_at_any_depth(value: Any) -> bool:
    try:
        return _is_plain(value)
    except RecursionError:  # it contains itself
        return False


def _is_plain(value: Any) -> bool:
    """Whether a value consists of numbers, strings and the like only."""
    if isinstance(value, ATOMS):
        return True
    if isinstance(value, dict):
        return all(_is_plain(item) for item in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return all(_is_plain(item) for item in value)
    return _is_record(value) and all(_is_plain(getattr(value, field.name)) for field in dataclasses.fields(value))


def _samples(value: Tensor) -> list[tuple[memoryview, int]]:
    """The memory and index of the first, middle and last element of a tensor on the CPU."""
    dense = value.is_contiguous() or (value.dim() == 4 and value.is_contiguous(memory_format=torch.channels_last))
    if value.device.type != "cpu" or value.layout != torch.strided or not dense or not value.numel():
        return []
    flat = value.detach().as_strided((value.numel(),), (1,)).view(INTEGERS[value.element_size()])
    memory, count = flat.numpy().data, flat.numel()
    return [(memory, index) for index in sorted({0, count // 2, count - 1})]


def _has_address(value: Tensor) -> bool:
    """Whether a tensor is one block of memory, unlike sparse ones."""
    try:
        value.data_ptr()
    except RuntimeError:
        return False
    return True
