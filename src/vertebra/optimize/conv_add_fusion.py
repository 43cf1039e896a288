"""The sum of a convolution's result and another map, and the ReLU behind it, as a step of the convolution.

A residual block ends in a sum and a ReLU. Each by itself reads and writes whole maps, which costs a CPU much of a ResNet's time.
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

from vertebra.optimize.dataflow_trace import single_places
from vertebra.optimize.foreign_modules import is_altered
from vertebra.optimize.fx_tracing import trace

ADDING = (operator.add, operator.iadd, torch.add)
RECTIFYING = (torch.relu, F.relu)
MAX_PARTS = 64  # of a block; what holds more is no block
CLOSE = 1e-5  # the largest difference in float32, relative to the largest value


class ConvSum(nn.Module):
    """A convolution, another map added to its result, and perhaps a ReLU.

    Args:
        conv: the convolution.
        rectified: whether a ReLU follows.
    """

    def __init__(self, conv: nn.Module, rectified: bool) -> None:
        super().__init__()
        self.conv = conv
        self.rectified = rectified

    def forward(self, maps: Tensor, other: Tensor) -> Tensor:
        """Of maps (N, C, h, w), and what is added to the result."""
        fused = getattr(self.conv, "plus", None)
        if fused is not None:
            return cast(Tensor, fused(maps, other, self.rectified))
        total: Tensor = self.conv(maps) + other
        return total.relu() if self.rectified else total


def fuse_sums(model: nn.Module, run: Callable[[], Any], skip: Collection[nn.Module] = ()) -> int:
    """Gives the blocks of a model that end in such sums another form, in place. Which those are is read from their own code, as
    `trace` records it; that the new form says the same is tried on what a block is given in a run, and then on the whole
    model, which gets its own blocks back if it says anything else.

    Args:
        model: in evaluation mode, for prediction alone.
        run: runs the model once.
        skip: modules that stay as they are.

    Returns:
        How many sums were fused.
    """
    places = single_places(model, skip)
    blocks = [module for module in reversed(list(places)) if _is_block(module)]
    seen, expected = _calls(blocks, run)
    fused = 0
    changed: list[nn.Module] = []
    for block in blocks:
        if block not in seen or any(isinstance(part, ConvSum) for part in block.modules()):
            continue  # what holds a block that was rewritten is more than a block
        given, result = seen[block]
        found, count = _rewritten(block, len(given))
        if count and _says(partial(found, *tree.tree_map(torch.clone, given)), result):
            _put(places[block], found)
            changed.append(block)
            fused += count
    if changed and not _says(run, expected):
        for block in changed:
            _put(places[block], block)
        return 0
    return fused


def _put(place: tuple[nn.Module, str], module: nn.Module) -> None:
    setattr(*place, module)


def _is_block(module: nn.Module) -> bool:
    parts = list(module.modules())
    return (
        not isinstance(module, nn.Sequential)
        and 2 < len(parts) <= MAX_PARTS
        and not any(is_altered(part) for part in parts)
        and any(type(part) is nn.Conv2d for part in parts)
    )


def _calls(blocks: list[nn.Module], run: Callable[[], Any]) -> tuple[dict[nn.Module, tuple[Any, Any]], Any]:
    """What each block was given and gave, of blocks that are called once in a run, with maps alone; and what the run gave."""
    given: dict[nn.Module, list[Any]] = {block: [] for block in blocks}
    found: dict[nn.Module, Any] = {}

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        plain = not kwargs and all(isinstance(value, Tensor) for value in args)
        given[module].append(tree.tree_map(torch.clone, args) if plain else None)

    def after(module: nn.Module, args: Any, result: Any) -> None:
        found[module] = tree.tree_map_only(Tensor, torch.clone, result)

    hooks = [block.register_forward_pre_hook(before, with_kwargs=True) for block in blocks]
    hooks += [block.register_forward_hook(after) for block in blocks]
    try:
        with torch.no_grad():
            outputs = run()
    finally:
        for hook in hooks:
            hook.remove()
    once = {block: (own[0], found[block]) for block, own in given.items() if len(own) == 1 and own[0] is not None}
    return once, outputs


def _rewritten(block: nn.Module, arguments: int) -> tuple[nn.Module, int]:
    """A block in its new form, and how many sums were fused; the block itself and 0 where there are none, and where it takes more
    arguments than it is given: their defaults, such as None, do not show in a recording."""
    try:
        found = trace(block)
    except Exception:  # code that looks at values or lengths fails in as many ways as there are; it stays as it is
        return block, 0
    if sum(node.op == "placeholder" for node in found.graph.nodes) != arguments:
        return block, 0
    count = 0
    for node in list(found.graph.nodes):
        if _is_sum(node) and _fuse(found, node, f"sum_{count}"):
            count += 1
    found.delete_all_unused_submodules()
    found.recompile()
    return found, count


def _is_sum(node: fx.Node) -> bool:
    adds = (node.op == "call_function" and node.target in ADDING) or (
        node.op == "call_method" and node.target in ("add", "add_")
    )
    return adds and len(node.args) == 2 and not node.kwargs and all(isinstance(value, fx.Node) for value in node.args)


def _fuse(found: fx.GraphModule, node: fx.Node, name: str) -> bool:
    """Fuses one sum, if one of its sides is the result of a convolution that nothing else reads."""
    for own, other in (node.args, node.args[::-1]):
        before = _back_to_conv(found, cast(fx.Node, own))
        if before and own is not other:
            conv, behind = before[-1], _on_to_relu(found, node)
            found.add_submodule(name, ConvSum(cast(nn.Module, _module(found, conv)), bool(behind)))
            last = behind[-1] if behind else node
            with found.graph.inserting_after(last):
                fused = found.graph.call_module(name, (conv.args[0], other))
            last.replace_all_uses_with(fused)
            for gone in [*reversed(behind), node, *before]:
                found.graph.erase_node(gone)
            return True
    return False


def _back_to_conv(found: fx.GraphModule, node: fx.Node) -> list[fx.Node]:
    """From a node back to the convolution whose result it is, if nothing else reads that; else nothing."""
    path = [node]
    while len(node.users) == 1:
        module = _module(found, node)
        if type(module) is nn.Conv2d and len(node.args) == 1:
            return path
        if not _does_nothing(module) or not isinstance(node.args[0], fx.Node):
            break
        node = node.args[0]
        path.append(node)
    return []


def _on_to_relu(found: fx.GraphModule, node: fx.Node) -> list[fx.Node]:
    """From what reads a node on to a ReLU, if nothing else reads it; else nothing."""
    path: list[fx.Node] = []
    while len(node.users) == 1:
        (node,) = node.users
        path.append(node)
        module = _module(found, node)
        if type(module) is nn.ReLU or (node.op == "call_function" and node.target in RECTIFYING):
            return path
        if not _does_nothing(module):
            break
    return []


def _module(found: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return found.get_submodule(str(node.target)) if node.op == "call_module" else None


def _does_nothing(module: nn.Module | None) -> bool:
    return type(module) in (nn.Identity, nn.Dropout, nn.Dropout2d)


def _says(run: Callable[[], Any], expected: Any) -> bool:
    """Whether something gives what was given before."""
    try:
        with torch.no_grad():
            result = run()
    except Exception:  # whatever fails in the new form stays in the old one
        return False
    (own, form), (other, known) = tree.tree_flatten(result), tree.tree_flatten(expected)
    return form == known and all(_near(left, right) for left, right in zip(own, other, strict=True))


def _near(left: Any, right: Any) -> bool:
    if not isinstance(left, Tensor) or not isinstance(right, Tensor):
        return bool(left == right)
    if left.shape != right.shape or not left.numel():
        return left.shape == right.shape
    left, right = left.double(), right.double()
    return float((left - right).abs().max()) <= CLOSE * max(1e-30, float(right.abs().max()))
