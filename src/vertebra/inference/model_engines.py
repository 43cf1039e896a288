"""The engines of one model, kept between predictions."""

from __future__ import annotations

from collections.abc import Hashable
from threading import Lock
from typing import Any

import torch

from vertebra.inference.devices import pick_device
from vertebra.inference.engine import Engine
from vertebra.inference.predictor import Predictor
from vertebra.keywords import check_keywords, keyword_names
from vertebra.model import VisionModel
from vertebra.optimize.half_precision import Precision
from vertebra.optimize.model_state import ModelState, current_state

Options = tuple[str | torch.device | None, Precision, bool]  # device, precision, compile


class ModelEngines:
    """Builds one engine for each device, precision and ``compile``, and keeps the engines until the model changes. Any number of
    threads may use it, as long as none changes the model. Copies of it are empty.
    """

    def __init__(self) -> None:
        self._kept: tuple[ModelState | None, dict[Options, Engine]] = (None, {})  # replaced as one, so no lock to read
        self._building = Lock()

    def __reduce__(self) -> tuple[type[ModelEngines], tuple[()]]:
        return ModelEngines, ()

    def __len__(self) -> int:
        """Number of engines."""
        return len(self.engines)

    @property
    def engines(self) -> list[Engine]:
        """The kept engines."""
        return list(dict.fromkeys(self._kept[1].values()))

    def predictor(
        self,
        model: VisionModel,
        *,
        device: str | torch.device | None = None,
        precision: Precision | None = None,
        compile: bool | None = None,
        **options: Any,
    ) -> Predictor:
        """A predictor with a kept engine.

        Args:
            model: always the same one.
            device, precision, compile: options of `Predictor` that choose the engine; None for their defaults.
            options: the other options of `Predictor`, without ``inplace``: the model stays unchanged.

        Raises:
            UnknownName: there is no such option; the message has the nearest name.
        """
        if options:
            check_keywords("predict", options, [name for name in keyword_names(Predictor) if name != "inplace"])
        return Predictor(self.engine(model, device, precision or "fp32", bool(compile)), **options)

    def engine(
        self, model: VisionModel, device: str | torch.device | None, precision: Precision, compile: bool
    ) -> Engine:
        """The engine for these options. It is found by the options as the caller wrote them; options that mean the same, such as
        the device ``None``, ``"cpu"`` and ``torch.device("cpu")`` on a machine without a GPU, share one engine. A model made in
        inference mode, whose changes cannot be detected, gets a new engine each time.
        """
        options: Options = (device, precision, compile)
        if not isinstance(device, Hashable):
            pick_device(device)  # raises
        state, engines = self._kept
        if options in engines and state is not None and state.holds(model):
            return engines[options]
        resolved: Options = (pick_device(device), precision, compile)
        with self._building:  # threads that need the same engine wait until one of them has built it
            known, engines = self._kept
            state = current_state(model, known)
            if state is not known:
                engines = {}
            engine = engines.get(resolved)
            if engine is None:
                engine = Engine(model, device=resolved[0], precision=precision, compile=compile)
            if state is not None:
                self._kept = (state, {**engines, resolved: engine, options: engine})
        return engine
