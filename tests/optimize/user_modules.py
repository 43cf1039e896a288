"""Modules as users write them: correct by themselves, and hard on whoever rewrites them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@torch.jit.script
def scaled_in_place(maps: Tensor) -> Tensor:
    """Changes its argument; compiled code does not report to `torch.overrides`."""
    maps.mul_(0.5).add_(0.25)
    return maps


@torch.jit.script
def squashed(maps: Tensor) -> Tensor:
    """Reads its argument."""
    return torch.tanh(maps) * 2.0


class Body(nn.Module):
    """A backbone's body of stride 2: a stem, two layers that subclasses use in their way, and a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv, self.norm, self.act = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.middle(F.relu(self.stem_norm(self.stem(images))))]

    def middle(self, maps: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(maps)))


class ScriptBetween(Body):
    """A compiled function changes the convolution's result in place before BatchNorm."""

    def middle(self, maps: Tensor) -> Tensor:
        return self.act(self.norm(scaled_in_place(self.conv(maps))))


class ScriptBeside(Body):
    """A compiled function reads the convolution's result beside BatchNorm."""

    def middle(self, maps: Tensor) -> Tensor:
        found = self.conv(maps)
        return self.act(self.norm(found)) + squashed(found)


class ScriptBeforeActivation(Body):
    """A compiled function reads what the activation reads."""

    def middle(self, maps: Tensor) -> Tensor:
        found = self.conv(maps)
        return self.act(found) + squashed(found)


class BranchOnBatch(Body):
    """A single image skips BatchNorm."""

    def middle(self, maps: Tensor) -> Tensor:
        found = self.conv(maps)
        return self.act(found if maps.shape[0] == 1 else self.norm(found))


class BranchOnLargerBatches(Body):
    """From four images on BatchNorm is skipped."""

    def middle(self, maps: Tensor) -> Tensor:
        convolved = self.conv(maps)
        return self.act(self.norm(convolved) if maps.shape[0] < 4 else convolved)


class BranchOnSize(Body):
    """Small maps skip the activation."""

    def middle(self, maps: Tensor) -> Tensor:
        found = self.norm(self.conv(maps))
        return found if maps.shape[-1] % 2 else self.act(found)


class BranchOnValues(Body):
    """Bright images skip BatchNorm."""

    def middle(self, maps: Tensor) -> Tensor:
        found = self.conv(maps)
        return self.act(found if float(maps.mean()) > self.limit else self.norm(found))

    limit = 1.5


class UsedTwice(Body):
    """The same layers twice, the second time without BatchNorm."""

    def middle(self, maps: Tensor) -> Tensor:
        maps = self.act(self.norm(self.conv(maps)))
        return self.act(self.conv(maps)) + self.act(self.norm(self.conv(maps)))


class SharedWeight(Body):
    """Two convolutions share a weight; BatchNorm follows one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.twin = nn.Conv2d(8, 8, 3, padding=1)
        self.twin.weight = self.conv.weight

    def middle(self, maps: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(maps)) + self.twin(maps))


class UncalledTwin(SharedWeight):
    """Two convolutions share a weight, and one is never called."""

    def middle(self, maps: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(maps)))


class SharedStatistics(Body):
    """Two BatchNorms share their statistics but not their factors."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.BatchNorm2d(8)
        self.other.running_mean, self.other.running_var = self.norm.running_mean, self.norm.running_var

    def middle(self, maps: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(maps)))


class WeightNorm(Body):
    """The convolution's weight is a parametrization."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.utils.parametrizations.weight_norm(self.conv)


class OldWeightNorm(Body):
    """The convolution's weight is computed before each call by a hook."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.utils.weight_norm(self.conv)


class SpectralNorm(Body):
    """The convolution's weight is divided by its largest singular value."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.utils.parametrizations.spectral_norm(self.conv)


class ReadsTheNorm(Body):
    """A factor of BatchNorm is read elsewhere."""

    def middle(self, maps: Tensor) -> Tensor:
        return super().middle(maps) * self.norm.weight.abs().sum()


class AsksForTheNorm(Body):
    """What happens depends on the kind of a layer: nothing fails where BatchNorm is gone, but the outputs are others."""

    def middle(self, maps: Tensor) -> Tensor:
        found = super().middle(maps)
        return found * 0.5 if isinstance(self.norm, nn.BatchNorm2d) else found


class ViewsTheWeight(Body):
    """A view of the weight that only its usual layout has."""

    def middle(self, maps: Tensor) -> Tensor:
        return super().middle(maps) * self.conv.weight.view(-1).mean()


class ReadsAnOption(Body):
    """An option of BatchNorm is read elsewhere."""

    def middle(self, maps: Tensor) -> Tensor:
        return super().middle(maps) + self.norm.eps


class NormInTraining(Body):
    """BatchNorm stays in training mode whatever the model does, as a user of batch statistics has it."""

    def train(self, mode: bool = True) -> NormInTraining:
        super().train(mode)
        self.norm.train()
        return self


class Counts(Body):
    """A buffer changes with each call, and does not change the outputs."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def middle(self, maps: Tensor) -> Tensor:
        self.calls += 1
        return super().middle(maps)


class Draws(Body):
    """It draws random numbers in evaluation mode too."""

    def middle(self, maps: Tensor) -> Tensor:
        return F.dropout(super().middle(maps), 0.5, training=True)


class Residual(Body):
    """A residual block with a compiled function inside."""

    class Block(nn.Module):
        def __init__(self, conv: nn.Module, norm: nn.Module) -> None:
            super().__init__()
            self.conv, self.norm, self.act = conv, norm, nn.ReLU()

        def forward(self, maps: Tensor) -> Tensor:
            found = self.conv(maps)
            return self.act(self.norm(found) + maps) + squashed(found)

    def __init__(self) -> None:
        super().__init__()
        self.block = Residual.Block(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))

    def middle(self, maps: Tensor) -> Tensor:
        return self.block(super().middle(maps))


def hook_on_norm(body: Body) -> Body:
    """A hook changes BatchNorm's result."""
    body.norm.register_forward_hook(lambda module, given, found: found * 0.5)
    return body


def hook_before_norm(body: Body) -> Body:
    """A hook changes what BatchNorm reads."""
    body.norm.register_forward_pre_hook(lambda module, given: (given[0] + 1.0,))
    return body


def hook_on_conv(body: Body) -> Body:
    """A hook changes the convolution's result."""
    body.conv.register_forward_hook(lambda module, given, found: found.clamp(min=-0.1))
    return body


def hook_before_conv(body: Body) -> Body:
    """A hook changes what the convolution reads."""
    body.conv.register_forward_pre_hook(lambda module, given: (given[0] + 0.5,))
    return body


def hook_on_activation(body: Body) -> Body:
    """A hook changes the activation's result."""
    body.act.register_forward_hook(lambda module, given, found: found + 1.0)
    return body


def replaced_activation(body: Body) -> Body:
    """An activation whose ``forward`` was replaced."""
    body.act.forward = torch.tanh  # type: ignore[method-assign]
    return body


def replaced_convolution(body: Body) -> Body:
    """A convolution whose ``forward`` was replaced by a function that holds on to it."""
    conv = body.conv
    conv.forward = lambda maps: F.conv2d(maps, conv.weight, None, padding=1) * 0.5  # type: ignore[method-assign]
    return body


MODULES: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        ScriptBetween, ScriptBeside, ScriptBeforeActivation, BranchOnBatch, BranchOnLargerBatches, BranchOnSize,
        BranchOnValues, UsedTwice, SharedWeight, UncalledTwin, SharedStatistics, WeightNorm,
        OldWeightNorm, SpectralNorm, ReadsTheNorm, NormInTraining,
        Counts, Residual, AsksForTheNorm, ViewsTheWeight, ReadsAnOption,
    )
}  # fmt: skip
MODULES |= {
    hook.__name__: lambda hook=hook: hook(Body())
    for hook in (
        hook_on_norm, hook_before_norm, hook_on_conv, hook_before_conv, hook_on_activation, replaced_activation,
        replaced_convolution,
    )
}  # fmt: skip
