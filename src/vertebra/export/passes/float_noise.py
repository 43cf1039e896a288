"""Noise of the size of rounding in the layers of a model, to find outputs that rounding decides.

Two runtimes add the same numbers in another order, and their sums differ in the last digits. Where a score lies that close to
another, or to a threshold, these digits decide which box is kept. Such cases are inconclusive: both results are valid.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

STEP = 2.0**-21  # of a map's usual size: what another order of summation changes, four steps of float32


@contextmanager
def other_rounding(model: nn.Module, seed: int) -> Iterator[None]:
    """Adds noise to the results of a model's innermost layers, as much as another order of summation would.

    Zeros, which come from ReLU or padding, and infinities stay.

    Parker, Monte Carlo Arithmetic: Exploiting Randomness in Floating-Point Arithmetic, UCLA CSD 970002, 1997 (difference: the
    noise is added to a layer's result, not to that of each operation).

    Args:
        model: of float32.
        seed: of the noise.
    """
    draw = torch.Generator().manual_seed(seed)

    def move(layer: nn.Module, inputs: object, output: object) -> object:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return output
        moves = (output != 0) & output.isfinite()
        usual = output[moves].abs().mean().nan_to_num()
        noise = torch.empty_like(output).normal_(generator=draw)
        return torch.where(moves, output + noise * (STEP * usual), output)

    handles = [layer.register_forward_hook(move) for layer in model.modules() if not any(layer.children())]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
