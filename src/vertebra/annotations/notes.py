"""Counted warnings about problems of a data set that were handled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

SHOWN = 3


@dataclass(frozen=True)
class Note:
    """A warning about a problem that was handled, with its count and the first few names.

    Its text is "2 boxes of zero area were dropped: a.xml, b.xml".

    Attributes:
        noun: the item, in the singular: "box".
        which: the problem: "of zero area".
        done: the action: "dropped".
        count: number of items.
        names: the first few files or classes.
        more: whether there are more names.
        every: all names, each once; empty where the first few are all that is known.
    """

    noun: str
    which: str
    done: str
    count: int
    names: tuple[str, ...] = ()
    more: bool = False
    every: tuple[str, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def of(cls, noun: str, which: str, done: str, names: Sequence[str], count: int | None = None) -> Note:
        """A note about these names, one for each item; a name is listed once."""
        different = list(dict.fromkeys(names))
        number = len(names) if count is None else count
        return cls(noun, which, done, number, tuple(different[:SHOWN]), len(different) > SHOWN, tuple(different))

    def __str__(self) -> str:
        names = ", ".join(self.names) + (", …" if self.more else "")
        verb = "was" if self.count == 1 else "were"
        words = [str(self.count), self.noun if self.count == 1 else plural(self.noun), self.which, verb, self.done]
        return " ".join(word for word in words if word) + (f": {names}" if names else "")


def plural(noun: str) -> str:
    """The plural of an English noun that this package uses."""
    if noun.endswith("y"):
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("x", "s")) else "s")
