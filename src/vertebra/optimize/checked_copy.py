"""An optimized copy of a model that is compared with the model before it is used: what changes outputs is left out."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from vertebra.model import VisionModel
from vertebra.optimize.comparison import (
    NOISE_MARGIN,
    TOLERANCE,
    add_rounding_noise,
    differences,
    full_float32,
    raw_outputs,
)
from vertebra.optimize.foreign_modules import is_foreign, run_by_foreign_code
from vertebra.optimize.probe_batches import ProbeBatch, canvas_batches, probe_batches

LOGGER = logging.getLogger(__name__)
Run = Callable[[], Any]
Scope = Literal["all", "known", "none"]
"""Where an optimization is applied: in all modules, in those that no foreign code runs, or nowhere."""


class Optimization(NamedTuple):
    """A change of a model that does not change its outputs.

    Attributes:
        name: as the log writes it.
        apply: changes a model in place, given runs of it and the modules to leave as they are; how many changes it made.
    """

    name: str
    apply: Callable[[VisionModel, Sequence[Run], Collection[nn.Module]], int]


class Trial(NamedTuple):
    """An attempt at an optimized copy.

    Attributes:
        model: the copy; None if it failed.
        changes: by optimization, how many changes were made.
        problem: what is wrong with it; None if its outputs are the model's.
    """

    model: VisionModel | None
    changes: dict[str, int]
    problem: str | None


class CheckedCopy:
    """Makes the optimized copy of a model and compares it with the model.

    The comparison runs on random and on natural images, one and two at a time, on two canvases, in float32. The raw outputs of
    the decoders must agree within 1e-4 of their scale, or within ten times the change that rounding noise in the weights causes
    where that is more, as behind a choice of the best queries. If they do not, the optimizations are tried one after the other,
    and each that changes outputs is left out: where foreign code runs, if that is enough, else everywhere.

    Args:
        model: stays as it is.
        device: where the copy is to run.
        optimizations: in the order in which they are applied.
        reset: called with a copy after each run; drops what it has kept of the run.

    Attributes:
        scopes: where each optimization is applied.
    """

    def __init__(
        self,
        model: VisionModel,
        device: torch.device,
        optimizations: Sequence[Optimization],
        reset: Callable[[nn.Module], object],
    ) -> None:
        self.optimizations = optimizations
        self.scopes: dict[str, Scope] = {own.name: "all" for own in optimizations}
        self._source = private_copy(model, device)
        self._reset = reset
        self._allowed: list[list[float]] | None = None
        self._batches, self._expected = self._reference(device)

    def make(self) -> VisionModel:
        """The copy with all optimizations that leave the outputs as they are."""
        if not self._batches:
            self.scopes = dict.fromkeys(self.scopes, "none")
            return private_copy(self._source)
        trial = self._try(self.scopes)
        if trial.model is None or trial.problem is not None:
            trial = self._locate()
        assert trial.model is not None
        applied = [f"{name} ({count})" for name, count in trial.changes.items() if count]
        LOGGER.info("the copy for prediction has: %s", ", ".join(applied) or "no optimization")
        return trial.model

    def build(self, optimizations: Sequence[Optimization]) -> VisionModel:
        """A copy that is not compared: with these optimizations, of which those that `make` has left out are left out again.

        Args:
            optimizations: in the order in which they are applied; others than those of `make` are applied everywhere.
        """
        return self._build(optimizations, self.scopes)[0]

    def _build(
        self, optimizations: Sequence[Optimization], scopes: Mapping[str, Scope]
    ) -> tuple[VisionModel, dict[str, int]]:
        fast = private_copy(self._source)
        runs = [partial(_run, fast, batch) for batch in self._batches[:2]]
        changes = {}
        for name, apply in optimizations:
            scope = scopes.get(name, "all")
            if scope != "none":
                skip = run_by_foreign_code(fast) if scope == "known" else ()
                changes[name] = apply(fast, runs, skip)
        return fast, changes

    def _try(self, scopes: dict[str, Scope]) -> Trial:
        try:
            fast, changes = self._build(self.optimizations, scopes)
            return Trial(fast, changes, self.problem(fast) if any(changes.values()) else None)
        except Exception as error:  # foreign code fails in its own ways when its parts were replaced
            LOGGER.debug("an optimized copy failed", exc_info=True)
            return Trial(None, {}, f"the model fails: {type(error).__name__}: {error}")

    def _locate(self) -> Trial:
        """Tries one optimization after the other, each on those before it that are right."""
        names = list(self.scopes)
        if not self._repeats():
            LOGGER.warning(
                "prediction runs without optimizations: two runs of the model on the same images differ, so that nothing can be "
                "compared"
            )
            names = []
        self.scopes = dict.fromkeys(self.scopes, "none")
        best = self._try(self.scopes)
        choices: list[Scope] = ["all", "known"] if run_by_foreign_code(self._source) else ["all"]
        for name in names:
            problem = ""
            for scope in choices:
                trial = self._try({**self.scopes, name: scope})
                if trial.problem is None:
                    best, self.scopes[name] = trial, scope
                    break
                problem = problem or trial.problem
            if problem:
                where = f" in {self._foreign()}" if self.scopes[name] == "known" else ""
                LOGGER.warning("prediction runs without %s%s: with it, %s", name, where, problem)
        return best

    def _foreign(self) -> str:
        names = sorted({type(module).__name__ for module in self._source.modules() if is_foreign(module)})
        return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")

    def _reference(self, device: torch.device) -> tuple[list[ProbeBatch], list[list[Tensor]]]:
        """Batches that the model takes, and its raw outputs."""
        batches: list[ProbeBatch] = []
        expected = []
        failure: Exception | None = None
        for make in (probe_batches, canvas_batches):
            for batch in [] if batches else make(self._source, device):
                try:
                    expected.append(self.outputs(self._source, batch))
                    batches.append(batch)
                except Exception as error:  # foreign code may refuse a size or a number of images
                    failure = error
        if not batches:
            LOGGER.warning(
                "prediction runs without optimizations: the model fails on images to compare on: %s", failure
            )
        return batches, expected

    def outputs(self, model: VisionModel, batch: ProbeBatch) -> list[Tensor]:
        """What is compared of a model, on one batch."""
        with full_float32(batch.images.device):
            found = raw_outputs(model, batch)
        self._reset(model)
        return found

    def problem(self, fast: VisionModel) -> str | None:
        """What is wrong with a copy; None if its outputs are the model's."""
        apart = differences([self.outputs(fast, batch) for batch in self._batches], self._expected)
        if all(own <= TOLERANCE for batch in apart for own in batch):
            return None
        if self._allowed is None:
            self._allowed = self._noise()
        pairs = zip(apart, self._allowed, strict=True)
        worst = max((own for one in pairs for own, most in zip(*one, strict=True) if own > most), default=None)
        return None if worst is None else f"raw outputs differ by {worst:.2g} of their scale"

    def _noise(self) -> list[list[float]]:
        """The largest difference of each output that is taken for rounding."""
        if not self._repeats():  # its differences are not those of rounding
            return [[TOLERANCE] * len(batch) for batch in self._expected]
        noisy = private_copy(self._source)
        add_rounding_noise(noisy)
        moved = differences([self.outputs(noisy, batch) for batch in self._batches], self._expected)
        return [[max(TOLERANCE, NOISE_MARGIN * own) for own in batch] for batch in moved]

    def _repeats(self) -> bool:
        """Whether the model gives the same outputs again."""
        again = differences([self.outputs(self._source, batch) for batch in self._batches], self._expected)
        return all(own <= TOLERANCE for batch in again for own in batch)


def private_copy(model: VisionModel, device: torch.device | None = None) -> VisionModel:
    """A copy in evaluation mode that shares its parameters with the model. Its buffers are its own, so that foreign code which
    changes them when it runs leaves those of the model alone.

    Args:
        model: stays as it is.
        device: where the copy is to be; parameters that are there are shared. None: where the model is.
    """
    memo: dict[int, Any] = {id(value): value for value in model.parameters()}
    memo |= {id(value): value.detach().clone() for value in model.buffers()}
    for module in model.modules():  # what hooks compute, as of weight normalization, cannot be copied with its gradient
        memo |= {id(value): value.detach() for value in vars(module).values() if isinstance(value, Tensor)}
    own = copy.deepcopy(model, memo)
    return (own if device is None else _moved(own, device)).eval()


@torch.no_grad()
def restore_buffers(fast: nn.Module, model: nn.Module) -> None:
    """Gives buffers that runs of a copy have changed the model's values."""
    originals = dict(model.named_buffers())
    for name, value in fast.named_buffers():
        if name in originals:
            value.copy_(originals[name])


def _run(model: VisionModel, batch: ProbeBatch) -> Any:
    return model(batch.images, batch.sizes)


def _moved(model: VisionModel, device: torch.device) -> VisionModel:
    """On the device; tensors that are there already stay shared."""
    if all(value.device.type == device.type for value in (*model.parameters(), *model.buffers())):
        return model
    with torch.no_grad():
        own = {id(value): nn.Parameter(value.to(device), requires_grad=False) for value in model.parameters()}
        for module in model.modules():
            for name, value in module._parameters.items():
                module._parameters[name] = None if value is None else own[id(value)]
            for name, buffer in module._buffers.items():
                module._buffers[name] = None if buffer is None else buffer.to(device)
    return model
