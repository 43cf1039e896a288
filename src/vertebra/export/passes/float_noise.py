"""Adds noise of the size of rounding to the layers of a model, to detect outputs that depend on rounding.

Two runtimes add the same numbers in another order, so sums differ in the last digits. If a score is that close to another one or
to a threshold, these digits decide which box is kept. Such cases are inconclusive: both results are valid.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

RELATIVE_NOISE = (
    2.0**-21
)  # relative to a map's mean magnitude: the effect of another summation order, four float32 steps


@contextmanager
def float_noise(model: nn.Module, seed: int) -> Iterator[None]:
    """Adds noise to the outputs of a model's leaf modules, of the size of another summation order's effect.

    Zeros, which come from ReLU or padding, and infinities are not changed.

    Parker, Monte Carlo Arithmetic: Exploiting Randomness in Floating-Point Arithmetic, UCLA CSD 970002, 1997 (difference: the
    noise is added to a layer's result, not to that of each operation).

    Args:
        model: in float32.
        seed: of the noise.
    """
    generator = torch.Generator().manual_seed(seed)

    def add_noise(layer: nn.Module, inputs: object, output: object) -> object:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return output
        noisy = (output != 0) & output.isfinite()
        scale = output[noisy].abs().mean().nan_to_num()
        noise = torch.empty_like(output).normal_(generator=generator)
        return torch.where(noisy, output + noise * (RELATIVE_NOISE * scale), output)

    handles = [layer.register_forward_hook(add_noise) for layer in model.modules() if not any(layer.children())]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
