"""Loads weight files into modules, with a report of the matches."""

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
    """Which tensors of a file were loaded into a module.

    Attributes:
        matched: names that were loaded.
        missing: names of the module that the file lacks; they keep their initial values.
        leftover: names of the file that the module lacks.
        mismatched_shapes: names in both, with different shapes; they keep their initial values.
        broken: those of ``matched`` that hold NaN or infinity.
        stripped: what was removed from the file's names; tensors without that prefix were ignored.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    leftover: tuple[str, ...]
    mismatched_shapes: tuple[str, ...]
    broken: tuple[str, ...] = ()
    stripped: Stripped = NOTHING

    def summary(self) -> str:
        """One line: how many of the module's tensors matched, under which prefix, and the first names that did not."""
        total = len(self.matched) + len(self.missing) + len(self.mismatched_shapes)
        parts = [f"{len(self.matched)} of {total} tensors matched{self.stripped.description()}"]
        for label, names in self._unmatched():
            if names:
                parts.append(f"{len(names)} {label} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})")
        if self.stripped.alternatives:
            parts.append(self.stripped.ambiguity())
        return ", ".join(parts)

    def details(self) -> str:
        """Several lines: the counts, then all names that are missing, left over or of another shape."""
        lines = [f"{len(self.matched)} matched{self.stripped.description()}"]
        for label, names in self._unmatched():
            lines.append(f"{len(names)} {label}" + (":" if names else ""))
            lines.extend(f"  {name}" for name in names)
        return "\n".join(lines)

    def _unmatched(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        groups = (
            ("missing", self.missing),
            ("left over", self.leftover),
            ("of another shape", self.mismatched_shapes),
        )
        return (*groups, ("with NaN or infinity", self.broken)) if self.broken else groups


def load_file(
    module: nn.Module,
    path: str | Path,
    *,
    convert: Callable[[State], State | None] | None = None,
    adapt: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None,
) -> LoadReport:
    """Loads a weight file of any trainer into a module, without the prefix under which most names and shapes match.

    Args:
        convert: renames another library's tensors to the module's names, see `choose`.
        adapt: transforms the chosen tensors before they are loaded.

    Raises:
        WeightsError: the file cannot be read, or too few tensors match.
    """
    state = read_state_dict(path)
    choice = choose(state, module.state_dict(), convert)
    tensors = choice.tensors if adapt is None else adapt(choice.tensors)
    return replace(load_matching(module, tensors, source=path), stripped=choice.stripped)


def load_matching(module: nn.Module, state: Mapping[str, Tensor], *, source: str | Path = "the weights") -> LoadReport:
    """Loads all tensors whose name and shape match, and reports the rest.

    Args:
        source: origin of the tensors, for messages.

    Raises:
        WeightsError: no tensor matches; counters and scalars do not count as a match.
    """
    expected = module.state_dict()
    matching = {name: value for name, value in state.items() if name in expected and fits(value, expected[name])}
    report = LoadReport(
        matched=tuple(matching),
        missing=tuple(name for name in expected if name not in state),
        leftover=tuple(name for name in state if name not in expected),
        mismatched_shapes=tuple(name for name in state if name in expected and name not in matching),
        broken=tuple(name for name, value in matching.items() if not is_finite(value)),
    )
    if not any(expected[name].ndim > 0 for name in matching):
        raise WeightsError(
            f"{source}: none of its {len(state)} tensors fits (the file has {', '.join(list(state)[:3])} …; the model has "
            f"{', '.join(list(expected)[:3])} …), and no prefix of the names can be removed so that half of them fit; "
            "give weights of this architecture"
        )
    module.load_state_dict({**expected, **matching})
    return report


def is_finite(value: Tensor) -> bool:
    """True if no value of a tensor is NaN or infinite. The sum is a fast test, which an overflow can fail."""
    if not value.is_floating_point():
        return True
    value = value.float() if value.element_size() == 1 else value  # 8-bit floats have no sum
    return bool(value.sum().isfinite()) or bool(value.isfinite().all())
