"""The code of a module recorded as a graph, without touching anything that other threads use.

`torch.fx.symbolic_trace` replaces methods of `torch.nn.Module` while it records, so that a model which runs in another thread at
that moment is recorded too, and fails. Here a copy of the module is recorded whose children do the recording themselves.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import torch
from torch import fx, nn


def trace(module: nn.Module) -> fx.GraphModule:
    """A module as a graph. Modules of PyTorch's own are called in it as modules; what others do stands in the graph itself.

    Args:
        module: stays as it is; its parts are those of the result.

    Raises:
        Exception: the code cannot be recorded, because it looks at values, or takes any number of arguments.
    """
    root = _shallow(module)
    tracer = fx.Tracer()
    tracer.root, tracer.graph, tracer.tensor_attrs = root, fx.Graph(tracer_cls=fx.Tracer), {}
    with torch.no_grad():  # what code computes from parameters alone becomes a constant
        result = _recording(module, tracer)(*_arguments(module, tracer))
    tracer.create_node("output", "output", (tracer.create_arg(result),), {})
    return fx.GraphModule(root, tracer.graph)


def _arguments(module: nn.Module, tracer: fx.Tracer) -> list[fx.Proxy]:
    parameters = inspect.signature(module.forward).parameters.values()
    if any(own.kind not in (own.POSITIONAL_ONLY, own.POSITIONAL_OR_KEYWORD) for own in parameters):
        raise TypeError("arguments of any number, or by name alone, are not recorded")
    return [tracer.create_proxy("placeholder", own.name, (), {}) for own in parameters]


def _recording(module: nn.Module, tracer: fx.Tracer) -> nn.Module:
    """A copy of a module that calls its parts by writing that into the tracer's graph."""
    made: dict[nn.Module, nn.Module] = {}

    def copied(own: nn.Module, path: str) -> nn.Module:
        if own not in made:
            made[own] = copy = _shallow(own)
            if path and tracer.is_leaf_module(own, path):
                copy.__dict__["forward"] = partial(_record, tracer, path)
            for name, child in own._modules.items():  # also of a list of modules, which PyTorch counts among its own
                copy._modules[name] = None if child is None else copied(child, f"{path}.{name}".lstrip("."))
        return made[own]

    return copied(module, "")


def _record(tracer: fx.Tracer, path: str, *args: Any, **kwargs: Any) -> Any:
    return tracer.create_proxy("call_module", path, args, kwargs)


def _shallow(module: nn.Module) -> nn.Module:
    """A module with the same parts, which can be given others; what it writes into its lists and tables is not the original's."""
    copy: nn.Module = object.__new__(type(module))
    copy.__dict__.update(
        {name: value.copy() if isinstance(value, dict | list) else value for name, value in vars(module).items()}
    )
    return copy
