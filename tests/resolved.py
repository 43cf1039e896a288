"""Options of training without open choices, for tests of parts that come after the choices."""

from __future__ import annotations

from typing import Any

from vertebra.training.resolved_config import ResolvedTrain


def resolved_train(**options: Any) -> ResolvedTrain:
    """The defaults, small numbers for what a run would choose, and these options."""
    chosen = {
        "epochs": 1,
        "batch_size": 2,
        "accumulate": 1,
        "evaluate_every": 1,
        "freeze_backbone": 0.0,
        "backbone_lr": 0.3,
    }
    return ResolvedTrain.model_validate({**chosen, **options})
