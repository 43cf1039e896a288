"""Finds the prefix of a checkpoint's names, such as ``model.`` or ``state_dict.module.encoder_q.``, that a module lacks.

It needs no list of known prefixes: it chooses the one under which most names and shapes match.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import Tensor

State = Mapping[str, Tensor]

AVERAGED = {"ema", "averaged", "average", "swa", "teacher", "target"}
LEARNER = {"student", "online", "momentum", "k", "current", "optimizer", "optimizers", "optim"}
USUAL = {"state_dict", "model_state_dict", "model", "module"}
MIN_MATCH_FRACTION = 0.5  # of the module's tensors; many networks share names such as "conv1.weight"
WRAPPERS = re.compile(r"\b(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Added to names, also in the middle, by ``torch.compile``, FSDP and activation checkpointing."""
MIN_PREFIX_FRACTION = 0.1  # of a file's tensors that must have a prefix before it is tried with `convert`


@dataclass(frozen=True)
class Stripped:
    """What was removed from a checkpoint's names.

    Attributes:
        prefix: the prefix; "" for none.
        wrappers: names of wrapper modules that were removed after the prefix.
        alternatives: other prefixes under which as many tensors match.
    """

    prefix: str = ""
    wrappers: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()

    def description(self) -> str:
        """A phrase that follows "tensors matched"; "" if nothing was removed."""
        under = f" under '{self.prefix}'" if self.prefix else ""
        return under + (f" without {', '.join(map(repr, self.wrappers))}" if self.wrappers else "")

    def ambiguity(self) -> str:
        """The alternatives, in a phrase; "" if there are none."""
        more = ", …" if len(self.alternatives) > 3 else ""
        return f"{', '.join(map(repr, self.alternatives[:3]))}{more} would fit as well" if self.alternatives else ""


NOTHING = Stripped()


class Choice(NamedTuple):
    """The chosen tensors of a checkpoint, under their stripped names, and how many of them match."""

    tensors: dict[str, Tensor]
    fitting: int
    stripped: Stripped = NOTHING


def choose(state: State, expected: State, convert: Callable[[State], State | None] | None = None) -> Choice:
    """The tensors of a checkpoint under the prefix that matches a module best.

    If several prefixes match equally well, averaged weights (``ema``, ``teacher`` …) have priority, and those of a
    ``student``, of ``encoder_k`` or of an optimizer come last; then the shortest prefix wins.

    Args:
        state: all tensors of the checkpoint.
        expected: the tensors of the module.
        convert: renames another library's tensors to the module's names, or returns None for tensors of no such library; its
            result is a further candidate.
    """
    choice = _choose(state, expected, convert)
    wrappers = dict.fromkeys(wrapper for name in state for wrapper in WRAPPERS.findall(name))
    if wrappers:
        bare = _choose({WRAPPERS.sub("", name): value for name, value in state.items()}, expected, convert)
        if bare.fitting > choice.fitting:
            return bare._replace(stripped=replace(bare.stripped, wrappers=tuple(wrappers)))
    return choice


def _choose(state: State, expected: State, convert: Callable[[State], State | None] | None) -> Choice:
    total = sum(value.ndim > 0 for value in expected.values())
    counts = _count(state, expected)
    candidates = [(count, prefix, False) for prefix, count in counts.items()]
    converted: dict[str, State] = {}
    if convert is not None:
        for prefix in {"": 0, **_common(state)}:
            renamed = _converted(strip(state, prefix), convert)
            if renamed is not None:
                converted[prefix] = renamed
                candidates.append((_fitting(renamed, expected), prefix, True))
    allowed = [
        (-count, by_convert, _rank(prefix), prefix.count("."), prefix)
        for count, prefix, by_convert in candidates
        if count and (count >= MIN_MATCH_FRACTION * total or _is_usual(prefix))
    ]
    if not allowed:
        return Choice(dict(state), 0)
    allowed.sort()
    negative_count, by_convert, *_, prefix = allowed[0]
    ties = (candidate[-1] for candidate in allowed if candidate[0] == negative_count and candidate[-1] != prefix)
    tensors = converted[prefix] if by_convert else strip(state, prefix)
    return Choice(dict(tensors), -negative_count, Stripped(prefix, alternatives=tuple(dict.fromkeys(ties))))


def choose_before(state: State, beginnings: Iterable[str]) -> Choice:
    """The tensors under the prefix after which most names continue with one of ``beginnings``; all of them if none does."""
    pattern = re.compile(rf"(?:^|(?<=\.))(?:{'|'.join(map(re.escape, beginnings))})")
    counts = Counter(name[: match.start()] for name in state for match in pattern.finditer(name))
    if not counts:
        return Choice(dict(state), 0)
    highest = max(counts.values())
    best = sorted((_rank(prefix), prefix.count("."), prefix) for prefix, count in counts.items() if count == highest)
    prefix = best[0][2]
    return Choice(
        strip(state, prefix), highest, Stripped(prefix, alternatives=tuple(other for _, _, other in best[1:]))
    )


def fits(value: Tensor, target: Tensor) -> bool:
    """True if a tensor can be loaded into ``target``: same shape, and both or neither are floating point."""
    return value.shape == target.shape and value.is_floating_point() == target.is_floating_point()


def strip(state: State, prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}


def _count(state: State, expected: State) -> Counter[str]:
    """How many tensors match under each prefix; counters and other scalars do not count."""
    counts: Counter[str] = Counter({"": 0})
    for name, value in state.items():
        start = 0
        while value.ndim:
            target = expected.get(name[start:])
            if target is not None and fits(value, target):
                counts[name[:start]] += 1
            start = name.find(".", start) + 1
            if start == 0:
                break
    return counts


def _fitting(state: State, expected: State) -> int:
    return sum(value.ndim > 0 and name in expected and fits(value, expected[name]) for name, value in state.items())


def _common(state: State) -> dict[str, int]:
    """Prefixes of at least a tenth of the tensors."""
    counts = Counter(name[: dot.end()] for name in state for dot in re.finditer(r"\.", name))
    return {prefix: count for prefix, count in counts.items() if count >= max(2, MIN_PREFIX_FRACTION * len(state))}


def _converted(state: State, convert: Callable[[State], State | None]) -> State | None:
    try:
        return convert(state)
    except (RuntimeError, ValueError, LookupError, StopIteration):
        return None  # the library's names with other shapes: another network


def _is_usual(prefix: str) -> bool:
    return all(step in USUAL for step in prefix.split(".")[:-1])


def _rank(prefix: str) -> int:
    words = set(re.split(r"[^a-z0-9]+", prefix.lower()))
    return 0 if words & AVERAGED else 2 if words & LEARNER else 1
