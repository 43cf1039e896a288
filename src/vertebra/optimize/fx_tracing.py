"""Thread-safe tracing of a module with torch.fx.

`torch.fx.symbolic_trace` patches methods of `torch.nn.Module` while it traces. A model that runs in another thread meanwhile is
traced too, and fails. Here a copy of the module is traced whose children record their own calls.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import torch
from torch import fx, nn


def trace(module: nn.Module) -> fx.GraphModule:
    """Traces a module into a graph. PyTorch's own modules become calls of modules; the code of other modules is inlined.

    Args:
        module: is not changed; the result shares its submodules.

    Raises:
        Exception: the code cannot be traced, because it branches on values or takes any number of arguments.
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
    if any(
        parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD) for parameter in parameters
    ):
        raise TypeError("variadic and keyword-only arguments cannot be traced")
    return [tracer.create_proxy("placeholder", parameter.name, (), {}) for parameter in parameters]


def _recording(module: nn.Module, tracer: fx.Tracer) -> nn.Module:
    """A copy of a module whose submodules record their calls in the tracer's graph."""
    copies: dict[nn.Module, nn.Module] = {}

    def copied(original: nn.Module, path: str) -> nn.Module:
        if original not in copies:
            copies[original] = copy = _shallow(original)
            if path and tracer.is_leaf_module(original, path):
                copy.__dict__["forward"] = partial(_record, tracer, path)
            for name, child in original._modules.items():  # also of a ModuleList, which the tracer takes for a leaf
                copy._modules[name] = None if child is None else copied(child, f"{path}.{name}".lstrip("."))
        return copies[original]

    return copied(module, "")


def _record(tracer: fx.Tracer, path: str, *args: Any, **kwargs: Any) -> Any:
    return tracer.create_proxy("call_module", path, args, kwargs)


def _shallow(module: nn.Module) -> nn.Module:
    """A shallow copy of a module: it shares the submodules, and has its own attributes, lists and dicts."""
    copy: nn.Module = object.__new__(type(module))
    copy.__dict__.update(
        {name: value.copy() if isinstance(value, dict | list) else value for name, value in vars(module).items()}
    )
    return copy
