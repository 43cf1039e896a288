"""What of a file came into a module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from vertebra.checkpoints.prefixes import NOTHING, State, Stripped, choose, fits
from vertebra.checkpoints.reading import read_state_dict
from vertebra.errors import WeightsError


@dataclass(frozen=True)
class LoadReport:
    """What of a file came into a module.

    Attributes:
        matched: names that were loaded.
        missing: names of the module that the file has not; they keep their initial values.
        leftover: names of the file that the module has not.
        mismatched_shapes: names that both have, but with different shapes; they keep their initial values.
        broken: those of ``matched`` that hold NaN or infinity.
        stripped: what was taken off the file's names; tensors that do not begin with that prefix were left out.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    leftover: tuple[str, ...]
    mismatched_shapes: tuple[str, ...]
    broken: tuple[str, ...] = ()
    stripped: Stripped = NOTHING

    def summary(self) -> str:
        """One line: how many of the module's tensors matched, under which prefix, and the first names of what did not."""
        wanted = len(self.matched) + len(self.missing) + len(self.mismatched_shapes)
        parts = [f"{len(self.matched)} of {wanted} tensors matched{self.stripped.words()}"]
        for word, names in self._rest():
            if names:
                parts.append(f"{len(names)} {word} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})")
        if self.stripped.others:
            parts.append(self.stripped.remark())
        return ", ".join(parts)

    def details(self) -> str:
        """Several lines: the counts, then every name that is missing, left over or of another shape."""
        lines = [f"{len(self.matched)} matched{self.stripped.words()}"]
        for word, names in self._rest():
            lines.append(f"{len(names)} {word}" + (":" if names else ""))
            lines.extend(f"  {name}" for name in names)
        return "\n".join(lines)

    def _rest(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        rest = (
            ("missing", self.missing),
            ("left over", self.leftover),
            ("of another shape", self.mismatched_shapes),
        )
        return (*rest, ("with NaN or infinity", self.broken)) if self.broken else rest


def load_file(
    module: nn.Module,
    path: str | Path,
    *,
    convert: Callable[[State], State | None] | None = None,
    adapt: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None,
) -> LoadReport:
    """Loads a weight file of any trainer into a module: the prefix under which most names and shapes fit is taken off.

    Args:
        convert: from another library's names to the module's, see `choose`.
        adapt: what is done to the chosen tensors before they are loaded.

    Raises:
        WeightsError: the file cannot be read, or too little in it fits.
    """
    state = read_state_dict(path)
    choice = choose(state, module.state_dict(), convert)
    tensors = choice.tensors if adapt is None else adapt(choice.tensors)
    return replace(load_matching(module, tensors, source=path), stripped=choice.stripped)


def load_matching(module: nn.Module, state: Mapping[str, Tensor], *, source: str | Path = "the weights") -> LoadReport:
    """Loads every tensor whose name and shape fit, and reports the rest.

    Args:
        source: where the tensors came from, for messages.

    Raises:
        WeightsError: nothing fits; counters and scalars do not count as a fit.
    """
    own = module.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and fits(value, own[name])}
    report = LoadReport(
        matched=tuple(fitting),
        missing=tuple(name for name in own if name not in state),
        leftover=tuple(name for name in state if name not in own),
        mismatched_shapes=tuple(name for name in state if name in own and name not in fitting),
        broken=tuple(name for name, value in fitting.items() if not is_finite(value)),
    )
    if not any(own[name].ndim > 0 for name in fitting):
        raise WeightsError(
            f"{source}: none of its {len(state)} tensors fits (the file has {', '.join(list(state)[:3])} …; wanted are "
            f"{', '.join(list(own)[:3])} …), and no prefix taken off the names makes half of the wanted ones fit; "
            "give weights of this very architecture"
        )
    module.load_state_dict({**own, **fitting})
    return report


def is_finite(value: Tensor) -> bool:
    """Whether no number of a tensor is NaN or infinite. The sum shows it fast; it alone may overflow."""
    if not value.is_floating_point():
        return True
    value = value.float() if value.element_size() == 1 else value  # no sums of 8 bits
    return bool(value.sum().isfinite()) or bool(value.isfinite().all())
