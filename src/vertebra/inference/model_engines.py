"""The engines of one model, kept between predictions."""

from __future__ import annotations

from functools import partial
from typing import Any

from vertebra.inference.devices import pick_device
from vertebra.inference.engine import Engine
from vertebra.inference.engine_cache import Kept
from vertebra.inference.predictor import Predictor
from vertebra.keywords import check_keywords, keyword_names
from vertebra.model import VisionModel
from vertebra.optimize.inference_copy import signature


class ModelEngines:
    """Makes an engine once for each device, precision and ``compile``, however they are spelled, and keeps it until the model
    changes. Any number of threads may use it, as long as none changes the model. Copies of it are empty.
    """

    def __init__(self) -> None:
        self._engines: Kept[Engine] = Kept()

    def __len__(self) -> int:
        """Number of engines."""
        return len(self._engines)

    def predictor(self, model: VisionModel, **options: Any) -> Predictor:
        """A predictor with the kept engine.

        Args:
            model: always the same one.
            options: of `Predictor`; the model stays as it is, so ``keep`` is not among them.

        Raises:
            UnknownName: there is no such option; the message has the nearest right name.
        """
        check_keywords("predict", options, [name for name in keyword_names(Predictor) if name != "keep"])
        device = pick_device(options.pop("device", None))
        precision: Any = options.pop("precision", None) or "fp32"
        compiled = bool(options.pop("compile", None))
        make = partial(Engine, model, device=device, precision=precision, compile=compiled)
        return Predictor(self._engines.get(signature(model), (device, precision, compiled), make), **options)
