"""Finds foreign modules, which are not from this library, PyTorch or timm: their code may do anything between two layers."""

from __future__ import annotations

from torch import nn

KNOWN = ("vertebra", "torch", "torchvision", "timm")  # packages whose modules the optimizations are tested with
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def is_foreign(module: nn.Module) -> bool:
    """Whether a module's class is from another package, or its ``forward`` was replaced."""
    return type(module).__module__.partition(".")[0] not in KNOWN or "forward" in vars(module)


def is_altered(module: nn.Module) -> bool:
    """Whether a module has hooks, or its ``forward`` was replaced."""
    return "forward" in vars(module) or any(getattr(module, name) for name in HOOKS)


def modules_run_by(owner: nn.Module) -> set[nn.Module]:
    """A module and the layers that its own code runs: its children, and the children of containers among them."""
    modules = {owner}
    for child in owner.children():
        modules |= modules_run_by(child) if isinstance(child, CONTAINERS) else {child}
    return modules


def run_by_foreign_code(root: nn.Module) -> set[nn.Module]:
    """All layers of a model that foreign code runs."""
    return {module for owner in root.modules() if is_foreign(owner) for module in modules_run_by(owner)}
