"""Rescales decoded scores by a temperature, inside of the model's graph.

Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599: logits are divided by one scalar T that is
fitted on images of their own. Here this is computed from the probabilities, which any decoder has: of classes that share a softmax
p^(1/T), divided by the sum over the classes; of a sigmoid the same with p and 1 - p. Both equal the softmax and the sigmoid of
logits / T.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def temper_classes(decoded: Any, multilabel: bool, temperature: float) -> Any:
    """Decoded outputs with rescaled probabilities of classes.

    Args:
        decoded: a NamedTuple with ``probabilities`` (N, K, ...).
        multilabel: whether each class has a sigmoid; else they share a softmax.
        temperature: above 1 for less confidence.
    """
    probabilities = decoded.probabilities
    rescaled = _sigmoid(probabilities, temperature) if multilabel else _softmax(probabilities, temperature)
    return decoded._replace(probabilities=rescaled)


def temper_values(decoded: Any, multilabel: bool, temperature: float) -> Any:
    """Decoded boxes with rescaled probabilities of their values; padding stays 0.

    Args:
        decoded: a NamedTuple with ``probabilities`` (N, D, K).
        multilabel: whether each value has a sigmoid; else they share a softmax.
        temperature: above 1 for less confidence.
    """
    probabilities = decoded.probabilities
    if multilabel:
        return decoded._replace(probabilities=_sigmoid(probabilities, temperature))
    real = probabilities.amax(dim=-1, keepdim=True) > 0
    rescaled = _softmax(torch.where(real, probabilities, 1.0), temperature, dim=-1)
    return decoded._replace(probabilities=torch.where(real, rescaled, 0.0))


def temper_scores(decoded: Any, temperature: float) -> Any:
    """Decoded boxes with rescaled scores, each as of a sigmoid; their order is unchanged, and padding stays 0.

    Args:
        decoded: a NamedTuple with ``scores`` (N, D).
        temperature: above 1 for less confidence.
    """
    return decoded._replace(scores=_sigmoid(decoded.scores, temperature))


def _softmax(probabilities: Tensor, temperature: float, dim: int = 1) -> Tensor:
    ratios = probabilities / probabilities.amax(dim=dim, keepdim=True)  # at most 1, so that powers do not all vanish
    powers = ratios.pow(1 / temperature)
    return powers / powers.sum(dim=dim, keepdim=True)


def _sigmoid(probabilities: Tensor, temperature: float) -> Tensor:
    rest = 1 - probabilities
    largest = torch.maximum(probabilities, rest)
    power, other = (probabilities / largest).pow(1 / temperature), (rest / largest).pow(1 / temperature)
    return power / (power + other)
