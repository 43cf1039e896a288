"""The exponential moving average (EMA) of a model's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn

from vertebra.errors import ConfigError, shortened
from vertebra.training.sharding import local


class MovingAverage(nn.Module):
    """An exponential moving average of a model's weights and buffers.

    The decay grows from small to its final value with the number of updates n, as min(decay, (1 + n) / (10 + n)), so
    that the initial weights have little effect on short runs.

    Args:
        model: the model to average; it is copied.
        decay: final decay.

    Raises:
        ConfigError: the model cannot be copied.
    """

    updates: torch.Tensor

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        try:
            self.model = copy.deepcopy(model).requires_grad_(False).eval()
        except Exception as error:  # foreign modules hold anything
            reason = shortened(f"{type(error).__name__}: {error}", 200)
            raise ConfigError(
                f"train.ema needs a copy of the model, which cannot be copied ({reason}); set ema: null"
            ) from error
        self.decay = decay
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def train(self, mode: bool = True) -> MovingAverage:
        """The average is always in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Updates the average with the model's current weights."""
        self.updates += 1
        count = int(self.updates)
        decay = min(self.decay, (1 + count) / (10 + count))
        averages, values = (map(local, whole.state_dict().values()) for whole in (self.model, model))
        pairs = list(zip(averages, values, strict=True))
        moving = [pair for pair in pairs if pair[0].is_floating_point()]
        copied = [pair for pair in pairs if not pair[0].is_floating_point()]
        if moving:
            torch._foreach_lerp_([average for average, _ in moving], [new for _, new in moving], 1 - decay)
        if copied:
            torch._foreach_copy_([average for average, _ in copied], [new for _, new in copied])
