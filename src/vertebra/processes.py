"""Helper processes that do not run the user's script again.

Where processes are not forked (macOS, Windows, Python 3.14 on Linux), Python lets a new process import the script that started it,
so that it knows what the script defines. A script that calls Vertebra at its top level would then call it again in each process.
"""

from __future__ import annotations

import io
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import spawn
from typing import Any

_REPLACING = threading.RLock()
_OF_SCRIPT = ("init_main_from_name", "init_main_from_path")


@contextmanager
def without_script() -> Iterator[None]:
    """Processes that this thread starts inside do not import the script; for those of other threads nothing changes."""
    thread = threading.get_ident()
    with _REPLACING:
        prepare = spawn.get_preparation_data

        def prepare_without_script(name: str) -> dict[str, Any]:
            data = prepare(name)
            if threading.get_ident() == thread:
                for key in _OF_SCRIPT:
                    data.pop(key, None)
            return data

        spawn.get_preparation_data = prepare_without_script
        try:
            yield
        finally:
            spawn.get_preparation_data = prepare


def defined_in_script(value: Any) -> str | None:
    """The name of something in a value that only the script defines, and that a process without the script could not read."""
    seeker = _Seeker(io.BytesIO())
    try:
        seeker.dump(value)
    except (pickle.PicklingError, AttributeError, TypeError):
        if seeker.script_name is None:
            raise  # it can be read by no other process at all
    return seeker.script_name


class _Seeker(pickle.Pickler):
    """Looks at all that a pickle would hold, and writes no tensors or arrays."""

    script_name: str | None = None

    def reducer_override(self, value: Any) -> Any:
        kind = value if isinstance(value, type) else type(value)
        for candidate in (value, kind):
            if getattr(candidate, "__module__", None) == "__main__":
                self.script_name = getattr(candidate, "__qualname__", None) or kind.__qualname__
        if kind.__module__ in ("numpy", "torch") and hasattr(value, "dtype"):
            return (int, ())
        return NotImplemented
