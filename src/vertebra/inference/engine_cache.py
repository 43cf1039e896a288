"""What is kept of a model between predictions, for any number of threads."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """Values that are made once for each key and kept until the state that they belong to changes. Copies of it are empty.

    Threads that ask for the same value at once wait until one of them has made it.
    """

    def __init__(self) -> None:
        self._current: tuple[Hashable, dict[Hashable, Value]] = (None, {})  # a state and its values, replaced as one
        self._making = Lock()

    def __reduce__(self) -> tuple[type[Kept[Any]], tuple[()]]:
        return Kept, ()

    def __len__(self) -> int:
        """How many values are kept."""
        return len(self._current[1])

    def get(self, state: Hashable | None, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key.

        Args:
            state: what the values depend on; those of another one are dropped. None: it cannot be told, and nothing is kept.
            key: of the value.
            make: gives the value, if there is none yet.
        """
        if state is None:
            return make()
        values = self._of(state)
        if key in values:
            return values[key]
        with self._making:
            values = self._of(state)
            if key not in values:
                made = make()
                self._current = (state, {**values, key: made})
                return made
            return values[key]

    def _of(self, state: Hashable) -> dict[Hashable, Value]:
        own, values = self._current
        return values if own == state else {}
