"""What an answer owes to rounding.

Two runtimes add the same numbers in another order, and their sums differ in the last digits. Where a score lies that close to
another, or to a threshold, these digits decide which box is kept; nothing follows from such an answer, for no one is the right one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

STEP = 2.0**-21  # of a map's usual size: what another order of summation changes, four steps of float32


@contextmanager
def other_rounding(model: nn.Module, seed: int) -> Iterator[None]:
    """Within it, the results of a model's innermost layers are off at random by as much as another order of summation would make
    them. Zeros, which a ReLU or padding has made, and infinities stay.

    Parker, Monte Carlo Arithmetic: Exploiting Randomness in Floating-Point Arithmetic, UCLA CSD 970002, 1997 (difference: a whole
    layer's result is moved, not that of each operation).

    Args:
        model: of float32.
        seed: of what is drawn.
    """
    draw = torch.Generator().manual_seed(seed)

    def move(layer: nn.Module, given: object, output: object) -> object:
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
