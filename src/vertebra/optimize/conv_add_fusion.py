"""Fuses the addition of another map to a convolution's output, and a ReLU after it, into the convolution.

A residual block ends in an addition and a ReLU. As separate operations, each reads and writes whole maps, which takes a large part
of a ResNet's time on a CPU.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.utils import _pytree as tree

from vertebra.optimize.dataflow_trace import unique_parents
from vertebra.optimize.foreign_modules import is_altered
from vertebra.optimize.fx_tracing import trace

ADD_FUNCTIONS = (operator.add, operator.iadd, torch.add)
RELU_FUNCTIONS = (torch.relu, F.relu)
MAX_PARTS = 64  # modules in a block; larger modules are not treated as blocks
CLOSE = 1e-5  # the largest difference in float32, relative to the largest value


class ConvSum(nn.Module):
    """A convolution, the addition of another map to its output, and an optional ReLU.

    Args:
        conv: the convolution.
        rectified: whether a ReLU follows.
    """

    def __init__(self, conv: nn.Module, rectified: bool) -> None:
        super().__init__()
        self.conv = conv
        self.rectified = rectified

    def forward(self, maps: Tensor, other: Tensor) -> Tensor:
        """Maps (N, C, h, w), and the map that is added to the convolution's output."""
        fused = getattr(self.conv, "plus", None)
        if fused is not None:
            return cast(Tensor, fused(maps, other, self.rectified))
        total: Tensor = self.conv(maps) + other
        return total.relu() if self.rectified else total


def fuse_sums(model: nn.Module, run: Callable[[], Any], skip: Collection[nn.Module] = ()) -> int:
    """Rewrites the blocks of a model that end in such sums, in place. Blocks are traced with `trace`. Each rewritten block is
    compared with the original on the block's inputs in a run, and then the whole model is compared; if the model's outputs
    differ, all original blocks are restored.

    Args:
        model: in evaluation mode, used for prediction only.
        run: runs the model once.
        skip: modules that are not changed.

    Returns:
        The number of fused sums.
    """
    parents = unique_parents(model, skip)
    blocks = [module for module in reversed(list(parents)) if _is_block(module)]
    calls, expected = _calls(blocks, run)
    fused = 0
    changed: list[nn.Module] = []
    for block in blocks:
        if block not in calls or any(isinstance(part, ConvSum) for part in block.modules()):
            continue  # it contains a block that was rewritten
        args, result = calls[block]
        rewritten, count = _rewritten(block, len(args))
        if count and _reproduces(partial(rewritten, *tree.tree_map(torch.clone, args)), result):
            _replace(parents[block], rewritten)
            changed.append(block)
            fused += count
    if changed and not _reproduces(run, expected):
        for block in changed:
            _replace(parents[block], block)
        return 0
    return fused


def _replace(parent_and_name: tuple[nn.Module, str], module: nn.Module) -> None:
    setattr(*parent_and_name, module)


def _is_block(module: nn.Module) -> bool:
    parts = list(module.modules())
    return (
        not isinstance(module, nn.Sequential)
        and 2 < len(parts) <= MAX_PARTS
        and not any(is_altered(part) for part in parts)
        and any(type(part) is nn.Conv2d for part in parts)
    )


def _calls(blocks: list[nn.Module], run: Callable[[], Any]) -> tuple[dict[nn.Module, tuple[Any, Any]], Any]:
    """The inputs and output of each block that is called once in a run, with tensors only; and the outputs of the run."""
    inputs: dict[nn.Module, list[Any]] = {block: [] for block in blocks}
    results: dict[nn.Module, Any] = {}

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        plain = not kwargs and all(isinstance(value, Tensor) for value in args)
        inputs[module].append(tree.tree_map(torch.clone, args) if plain else None)

    def after(module: nn.Module, args: Any, result: Any) -> None:
        results[module] = tree.tree_map_only(Tensor, torch.clone, result)

    hooks = [block.register_forward_pre_hook(before, with_kwargs=True) for block in blocks]
    hooks += [block.register_forward_hook(after) for block in blocks]
    try:
        with torch.no_grad():
            outputs = run()
    finally:
        for hook in hooks:
            hook.remove()
    once = {
        block: (calls[0], results[block]) for block, calls in inputs.items() if len(calls) == 1 and calls[0] is not None
    }
    return once, outputs


def _rewritten(block: nn.Module, arguments: int) -> tuple[nn.Module, int]:
    """The rewritten block and the number of fused sums; the block itself and 0 where nothing can be fused, or where the block has
    arguments that the call leaves at their defaults, which a trace does not record."""
    try:
        graph = trace(block)
    except Exception:  # code that branches on values cannot be traced and may raise anything; the block is kept
        return block, 0
    if sum(node.op == "placeholder" for node in graph.graph.nodes) != arguments:
        return block, 0
    count = 0
    for node in list(graph.graph.nodes):
        if _is_sum(node) and _fuse(graph, node, f"sum_{count}"):
            count += 1
    graph.delete_all_unused_submodules()
    graph.recompile()
    return graph, count


def _is_sum(node: fx.Node) -> bool:
    adds = (node.op == "call_function" and node.target in ADD_FUNCTIONS) or (
        node.op == "call_method" and node.target in ("add", "add_")
    )
    return adds and len(node.args) == 2 and not node.kwargs and all(isinstance(value, fx.Node) for value in node.args)


def _fuse(graph: fx.GraphModule, node: fx.Node, name: str) -> bool:
    """Fuses one sum, if one of its operands is the output of a convolution that nothing else reads."""
    for conv_side, added_map in (node.args, node.args[::-1]):
        before = _back_to_conv(graph, cast(fx.Node, conv_side))
        if before and conv_side is not added_map:
            conv, behind = before[-1], _on_to_relu(graph, node)
            graph.add_submodule(name, ConvSum(cast(nn.Module, _module(graph, conv)), bool(behind)))
            last = behind[-1] if behind else node
            with graph.graph.inserting_after(last):
                fused = graph.graph.call_module(name, (conv.args[0], added_map))
            last.replace_all_uses_with(fused)
            for gone in [*reversed(behind), node, *before]:
                graph.graph.erase_node(gone)
            return True
    return False


def _back_to_conv(graph: fx.GraphModule, node: fx.Node) -> list[fx.Node]:
    """The nodes from a node back to the convolution that computes it, if nothing else reads them; else an empty list."""
    path = [node]
    while len(node.users) == 1:
        module = _module(graph, node)
        if type(module) is nn.Conv2d and len(node.args) == 1:
            return path
        if not _does_nothing(module) or not isinstance(node.args[0], fx.Node):
            break
        node = node.args[0]
        path.append(node)
    return []


def _on_to_relu(graph: fx.GraphModule, node: fx.Node) -> list[fx.Node]:
    """The nodes from a node's reader to a ReLU, if nothing else reads them; else an empty list."""
    path: list[fx.Node] = []
    while len(node.users) == 1:
        (node,) = node.users
        path.append(node)
        module = _module(graph, node)
        if type(module) is nn.ReLU or (node.op == "call_function" and node.target in RELU_FUNCTIONS):
            return path
        if not _does_nothing(module):
            break
    return []


def _module(graph: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return graph.get_submodule(str(node.target)) if node.op == "call_module" else None


def _does_nothing(module: nn.Module | None) -> bool:
    return type(module) in (nn.Identity, nn.Dropout, nn.Dropout2d)


def _reproduces(run: Callable[[], Any], expected: Any) -> bool:
    """Whether a function returns the expected outputs, up to rounding."""
    try:
        with torch.no_grad():
            result = run()
    except Exception:  # a rewritten block that fails is not used
        return False
    (values, structure), (expected_values, expected_structure) = tree.tree_flatten(result), tree.tree_flatten(expected)
    return structure == expected_structure and all(
        _close(left, right) for left, right in zip(values, expected_values, strict=True)
    )


def _close(left: Any, right: Any) -> bool:
    if not isinstance(left, Tensor) or not isinstance(right, Tensor):
        return bool(left == right)
    if left.shape != right.shape or not left.numel():
        return left.shape == right.shape
    left, right = left.double(), right.double()
    return float((left - right).abs().max()) <= CLOSE * max(1e-30, float(right.abs().max()))
