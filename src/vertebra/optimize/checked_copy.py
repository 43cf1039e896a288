"""An optimized copy of a model, compared with the model before use. Optimizations that change the outputs are left out."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from vertebra.errors import shortened
from vertebra.model import VisionModel
from vertebra.optimize.comparison import (
    NOISE_MARGIN,
    TOLERANCE,
    NothingToCompare,
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
"""The modules that an optimization changes: all, those that foreign code does not run, or none."""


class NotCopyable(Exception):
    """A model cannot be copied."""


class Optimization(NamedTuple):
    """A rewrite of a model that must not change its outputs.

    Attributes:
        name: as logged.
        apply: changes a model in place. Takes the model, functions that run it, and the modules to skip; returns the number of
            changes.
    """

    name: str
    apply: Callable[[VisionModel, Sequence[Run], Collection[nn.Module]], int]


class Trial(NamedTuple):
    """An attempt at an optimized copy.

    Attributes:
        model: the copy; None if it failed.
        changes: the number of changes of each optimization.
        problem: how it differs from the model; None if its outputs agree with the model's.
    """

    model: VisionModel | None
    changes: dict[str, int]
    problem: str | None


class CheckedCopy:
    """Makes the optimized copy of a model and compares it with the model.

    The comparison runs on random and on natural images, in batches of one and two (and of eight where foreign code runs), on two
    canvases, in float32. The raw outputs of the decoders must agree within 1e-4 of their scale, or within ten times the effect of
    rounding noise in the weights where that is larger (for example after a top-k selection of queries). If they do not agree, the
    optimizations are tried one by one, and each one that changes the outputs is left out: only in modules that foreign code runs
    if that is enough, else everywhere.

    Args:
        model: is not changed.
        device: of the copy.
        optimizations: in the order in which they are applied.
        reset: called with a copy after each run, to drop state that the run left in it.

    Attributes:
        scopes: the scope of each optimization.

    Raises:
        NotCopyable: a module of the model cannot be copied.
    """

    def __init__(
        self,
        model: VisionModel,
        device: torch.device,
        optimizations: Sequence[Optimization],
        reset: Callable[[nn.Module], object],
    ) -> None:
        self.optimizations = optimizations
        self.scopes: dict[str, Scope] = {optimization.name: "all" for optimization in optimizations}
        self._source = private_copy(model, device)
        self._reset = reset
        self._allowed: list[list[float]] | None = None
        self._batches, self._expected = self._reference(device)

    def make(self) -> VisionModel:
        """The copy with all optimizations that do not change the outputs.

        Raises:
            NotCopyable: a copy of the model cannot be copied or run again.
        """
        if not self._batches:
            self.scopes = dict.fromkeys(self.scopes, "none")
            return private_copy(self._source)
        trial = self._try(self.scopes)
        if trial.model is None or trial.problem is not None:
            trial = self._locate()
        if trial.model is None:
            raise NotCopyable(trial.problem)
        applied = [f"{name} ({count})" for name, count in trial.changes.items() if count]
        LOGGER.info("the copy for prediction has: %s", ", ".join(applied) or "no optimization")
        return trial.model

    def build(self, optimizations: Sequence[Optimization]) -> VisionModel:
        """A copy that is not compared with the model. Optimizations that `make` has left out are left out here too.

        Args:
            optimizations: in the order in which they are applied; those that `make` has not tested are applied everywhere.
        """
        return self._build(optimizations, self.scopes)[0]

    def _build(
        self, optimizations: Sequence[Optimization], scopes: Mapping[str, Scope]
    ) -> tuple[VisionModel, dict[str, int]]:
        optimized = private_copy(self._source)
        runs = [partial(_run, optimized, batch) for batch in self._batches[:2]]
        changes = {}
        for name, apply in optimizations:
            scope = scopes.get(name, "all")
            if scope != "none":
                skip = run_by_foreign_code(optimized) if scope == "known" else ()
                changes[name] = apply(optimized, runs, skip)
        return optimized, changes

    def _try(self, scopes: dict[str, Scope]) -> Trial:
        try:
            optimized, changes = self._build(self.optimizations, scopes)
            return Trial(optimized, changes, self.problem(optimized) if any(changes.values()) else None)
        except Exception as error:  # foreign code may raise anything when its layers are replaced
            LOGGER.debug("an optimized copy failed", exc_info=True)
            return Trial(None, {}, f"the model fails: {type(error).__name__}: {error}")

    def _locate(self) -> Trial:
        """Tries the optimizations one by one, each on top of those that were accepted before."""
        names = list(self.scopes)
        if not self._repeats():
            LOGGER.warning(
                "prediction runs without optimizations: the model is not deterministic (two runs on the same images differ), so "
                "an optimized copy cannot be checked"
            )
            names = []
        self.scopes = dict.fromkeys(self.scopes, "none")
        accepted = self._try(self.scopes)
        choices: list[Scope] = ["all", "known"] if run_by_foreign_code(self._source) else ["all"]
        for name in names:
            problem = ""
            for scope in choices:
                trial = self._try({**self.scopes, name: scope})
                if trial.problem is None:
                    accepted, self.scopes[name] = trial, scope
                    break
                problem = problem or trial.problem
            if problem:
                where = f" in {self._foreign()}" if self.scopes[name] == "known" else ""
                LOGGER.warning("prediction runs without %s%s: with it, %s", name, where, problem)
        return accepted

    def _foreign(self) -> str:
        names = sorted({type(module).__name__ for module in self._source.modules() if is_foreign(module)})
        return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")

    def _reference(self, device: torch.device) -> tuple[list[ProbeBatch], list[list[Tensor]]]:
        """Batches that the model accepts, and its raw outputs on them."""
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
            cause = "" if isinstance(failure, NothingToCompare) else "the model fails on the test images: "
            LOGGER.warning("prediction runs without optimizations: %s%s", cause, failure)
        return batches, expected

    def outputs(self, model: VisionModel, batch: ProbeBatch) -> list[Tensor]:
        """The outputs of a model that are compared, on one batch."""
        with full_float32(batch.images.device):
            outputs = raw_outputs(model, batch)
        self._reset(model)
        return outputs

    def problem(self, optimized: VisionModel) -> str | None:
        """How a copy differs from the model; None if the outputs agree."""
        errors = differences([self.outputs(optimized, batch) for batch in self._batches], self._expected)
        if all(value <= TOLERANCE for batch in errors for value in batch):
            return None
        if self._allowed is None:
            self._allowed = self._noise()
        pairs = zip(errors, self._allowed, strict=True)
        worst = max(
            (value for pair in pairs for value, limit in zip(*pair, strict=True) if value > limit), default=None
        )
        return None if worst is None else f"raw outputs differ by {worst:.2g} of their scale"

    def _noise(self) -> list[list[float]]:
        """For each output, the largest difference that rounding can explain."""
        if not self._repeats():  # differences of a nondeterministic model are not rounding
            return [[TOLERANCE] * len(batch) for batch in self._expected]
        noisy = private_copy(self._source)
        add_rounding_noise(noisy)
        errors = differences([self.outputs(noisy, batch) for batch in self._batches], self._expected)
        return [[max(TOLERANCE, NOISE_MARGIN * value) for value in batch] for batch in errors]

    def _repeats(self) -> bool:
        """Whether a second run of the model gives the same outputs."""
        errors = differences([self.outputs(self._source, batch) for batch in self._batches], self._expected)
        return all(value <= TOLERANCE for batch in errors for value in batch)


def private_copy(model: VisionModel, device: torch.device | None = None) -> VisionModel:
    """A copy in evaluation mode that shares its parameters with the model. Buffers are copied, because foreign code may change
    them when it runs.

    Args:
        model: is not changed.
        device: of the copy; parameters that are on this device are shared. None: the model's device.

    Raises:
        NotCopyable: a module of the model cannot be copied.
    """
    memo: dict[int, Any] = {id(value): value for value in model.parameters()}
    memo |= {id(value): value.detach().clone() for value in model.buffers()}
    for (
        module
    ) in model.modules():  # tensors that hooks compute (weight normalization) cannot be deep-copied with their gradient
        memo |= {id(value): value.detach() for value in vars(module).values() if isinstance(value, Tensor)}
    try:
        copied = copy.deepcopy(model, memo)
    except Exception as error:  # foreign modules hold anything
        LOGGER.debug("a model cannot be copied", exc_info=True)
        raise NotCopyable(shortened(f"{type(error).__name__}: {error}", 200)) from error
    copies = set(copied.modules())
    shared = next((module for module in model.modules() if module in copies), None)
    if shared is not None:  # a module may define its own copy, and return itself
        raise NotCopyable(f"the copy of {type(shared).__name__} is the module itself")
    return (copied if device is None else _to_device(copied, device)).eval()


@torch.no_grad()
def restore_buffers(optimized: nn.Module, model: nn.Module) -> None:
    """Resets the buffers of a copy to the model's values, since test runs may have changed them."""
    originals = dict(model.named_buffers())
    for name, value in optimized.named_buffers():
        if name in originals:
            value.copy_(originals[name])


def _run(model: VisionModel, batch: ProbeBatch) -> Any:
    return model(batch.images, batch.sizes)


def _to_device(model: VisionModel, device: torch.device) -> VisionModel:
    """Moves a copy to a device; tensors that are on it already stay shared."""
    device = torch.empty(0, device=device).device  # "cuda" becomes "cuda:0"
    if all(value.device == device for value in (*model.parameters(), *model.buffers())):
        return model
    with torch.no_grad():
        parameters = {id(value): nn.Parameter(value.to(device), requires_grad=False) for value in model.parameters()}
        for module in model.modules():
            for name, value in module._parameters.items():
                module._parameters[name] = None if value is None else parameters[id(value)]
            for name, buffer in module._buffers.items():
                module._buffers[name] = None if buffer is None else buffer.to(device)
    return model
