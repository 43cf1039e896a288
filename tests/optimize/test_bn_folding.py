"""A BatchNorm is folded only where this changes no output."""

from __future__ import annotations

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from tests.weights.peers.randomize import randomize
from vertebra.optimize.bn_folding import fold_batch_norm

NORMS = nn.modules.batchnorm._BatchNorm


class TwoReaders(nn.Module):
    """A norm whose convolution something else reads as well, and one that reads two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.read_twice, self.first = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.left, self.right, self.both = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.shown, self.after = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.grown, self.last = nn.ConvTranspose2d(3, 3, 2, 2), BatchNormAct2d(3)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        twice = self.read_twice(maps)
        maps = self.first(twice) + twice
        maps = self.both(self.left(maps)) + self.both(self.right(maps))
        shown = self.shown(maps)
        return self.last(self.grown(self.after(shown))), shown


@torch.no_grad()
def test_only_what_may_be_folded_is() -> None:
    torch.manual_seed(0)
    model = randomize(TwoReaders())
    maps = torch.randn(2, 3, 4, 4)
    before = model(maps)
    assert fold_batch_norm(model, lambda: model(maps)) == 1
    assert sum(isinstance(module, NORMS) for module in model.modules()) == 3 and isinstance(model.last, nn.Sequential)
    for ours, theirs in zip(model(maps), before, strict=True):
        torch.testing.assert_close(ours, theirs)
