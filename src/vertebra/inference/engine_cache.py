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
        self._current: tuple[Any, dict[Hashable, Value]] = (None, {})  # a state and its values, replaced as one
        self._making = Lock()

    def __reduce__(self) -> tuple[type[Kept[Any]], tuple[()]]:
        return Kept, ()

    def __len__(self) -> int:
        """How many values are kept."""
        return len(self._current[1])

    def get(self, observe: Callable[[Any], Any | None], key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key.

        Args:
            observe: given the state that the values depend on, None at first, gives it back while it lasts, else another one, with
                which the values are dropped; None where it cannot be told, and nothing is kept.
            key: of the value.
            make: gives the value, if there is none yet.
        """
        state, values = self._of(observe)
        if state is None:
            return make()
        if key in values:
            return values[key]
        with self._making:
            state, values = self._of(observe)
            if key not in values:
                made = make()
                self._current = (state, {**values, key: made})
                return made
            return values[key]

    def _of(self, observe: Callable[[Any], Any | None]) -> tuple[Any | None, dict[Hashable, Value]]:
        known, values = self._current
        state = observe(known)
        return state, values if state is known else {}
