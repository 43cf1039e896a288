"""The prefix under which a checkpoint's names are those of a module: ``model.``, ``state_dict.module.encoder_q.`` and the like.

No list of known prefixes is needed: the one under which most names and shapes fit is taken.
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
ENOUGH = 0.5  # of the wanted tensors; names such as "conv1.weight" stand inside many other networks too
WRAPPERS = re.compile(r"\b(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What ``torch.compile``, FSDP and activation checkpointing put into names, at parts inside a model too."""
SHARE = 0.1  # of a file's tensors, that have a prefix which is tried with a table of names


@dataclass(frozen=True)
class Stripped:
    """What was taken off a checkpoint's names.

    Attributes:
        prefix: their beginning; "" for nothing.
        inside: what was taken out of the names behind the prefix.
        others: prefixes under which as many tensors fit, and which were not taken.
    """

    prefix: str = ""
    inside: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def words(self) -> str:
        """To stand after "tensors matched"; "" for nothing."""
        under = f" under '{self.prefix}'" if self.prefix else ""
        return under + (f" without {', '.join(map(repr, self.inside))}" if self.inside else "")

    def remark(self) -> str:
        """What else would fit; "" for nothing."""
        more = ", …" if len(self.others) > 3 else ""
        return f"{', '.join(map(repr, self.others[:3]))}{more} would fit as well" if self.others else ""


NOTHING = Stripped()


class Choice(NamedTuple):
    """The tensors of a checkpoint that were chosen, under the names without what was taken off, and how many of them fit."""

    tensors: dict[str, Tensor]
    fitting: int
    stripped: Stripped = NOTHING


def choose(state: State, own: State, convert: Callable[[State], State | None] | None = None) -> Choice:
    """The tensors of a checkpoint that fit a module best.

    Where several prefixes fit as well, averaged weights (``ema``, ``teacher`` …) are taken before others, and those of a
    ``student``, of ``encoder_k`` or of an optimizer after all others; then the shortest prefix.

    Args:
        state: all tensors of the checkpoint.
        own: those of the module.
        convert: from another library's names to the module's; None where they are not that library's. It is tried too.
    """
    choice = _choose(state, own, convert)
    inside = dict.fromkeys(found for name in state for found in WRAPPERS.findall(name))
    if inside:
        bare = _choose({WRAPPERS.sub("", name): value for name, value in state.items()}, own, convert)
        if bare.fitting > choice.fitting:
            return bare._replace(stripped=replace(bare.stripped, inside=tuple(inside)))
    return choice


def _choose(state: State, own: State, convert: Callable[[State], State | None] | None) -> Choice:
    wanted = sum(value.ndim > 0 for value in own.values())
    counts = _count(state, own)
    candidates = [(count, prefix, False) for prefix, count in counts.items()]
    converted: dict[str, State] = {}
    if convert is not None:
        for prefix in {"": 0, **_common(state)}:
            found = _converted(strip(state, prefix), convert)
            if found is not None:
                converted[prefix] = found
                candidates.append((_fitting(found, own), prefix, True))
    allowed = [one for one in candidates if one[0] and (one[0] >= ENOUGH * wanted or _is_usual(one[1]))]
    if not allowed:
        return Choice(dict(state), 0)
    allowed.sort(key=lambda one: (-one[0], one[2], _rank(one[1]), one[1].count("."), one[1]))
    count, prefix, by_table = allowed[0]
    others = tuple(dict.fromkeys(other for found, other, _ in allowed if found == count and other != prefix))
    tensors = converted[prefix] if by_table else strip(state, prefix)
    return Choice(dict(tensors), count, Stripped(prefix, others=others))


def choose_before(state: State, beginnings: Iterable[str]) -> Choice:
    """The tensors under the prefix after which most names begin in one of these ways; where none does, all of them."""
    pattern = re.compile(rf"(?:^|(?<=\.))(?:{'|'.join(map(re.escape, beginnings))})")
    counts = Counter(name[: found.start()] for name in state for found in pattern.finditer(name))
    if not counts:
        return Choice(dict(state), 0)
    most = max(counts.values())
    best = sorted((_rank(prefix), prefix.count("."), prefix) for prefix, count in counts.items() if count == most)
    prefix = best[0][2]
    return Choice(strip(state, prefix), most, Stripped(prefix, others=tuple(other for _, _, other in best[1:])))


def fits(value: Tensor, own: Tensor) -> bool:
    """Whether a tensor can take another's place: it has the same shape, and both hold real numbers or neither does."""
    return value.shape == own.shape and value.is_floating_point() == own.is_floating_point()


def strip(state: State, prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}


def _count(state: State, own: State) -> Counter[str]:
    """For each prefix, how many tensors fit under it. Counters and other single numbers do not count as a fit."""
    counts: Counter[str] = Counter({"": 0})
    for name, value in state.items():
        at = 0
        while value.ndim:
            target = own.get(name[at:])
            if target is not None and fits(value, target):
                counts[name[:at]] += 1
            at = name.find(".", at) + 1
            if at == 0:
                break
    return counts


def _fitting(state: State, own: State) -> int:
    return sum(value.ndim > 0 and name in own and fits(value, own[name]) for name, value in state.items())


def _common(state: State) -> dict[str, int]:
    """Prefixes that at least a tenth of the tensors have."""
    counts = Counter(name[: dot.end()] for name in state for dot in re.finditer(r"\.", name))
    return {prefix: count for prefix, count in counts.items() if count >= max(2, SHARE * len(state))}


def _converted(state: State, convert: Callable[[State], State | None]) -> State | None:
    try:
        return convert(state)
    except (RuntimeError, ValueError, LookupError, StopIteration):
        return None  # the names are that library's, the shapes are not: so it is another network


def _is_usual(prefix: str) -> bool:
    return all(step in USUAL for step in prefix.split(".")[:-1])


def _rank(prefix: str) -> int:
    words = set(re.split(r"[^a-z0-9]+", prefix.lower()))
    return 0 if words & AVERAGED else 2 if words & LEARNER else 1
