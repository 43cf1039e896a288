"""Helper processes that do not run the user's script again.

If processes are not forked (macOS, Windows, Python 3.14 on Linux), Python imports the user's script in each new process. A script
that calls Vertebra at its top level would then call it again in each process.
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
    """Processes that this thread starts in this context do not import the script; those of other threads are unaffected."""
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
    """The name of an object in a value that the script defines, so that a process without the script cannot unpickle it."""
    finder = _ScriptNameFinder(io.BytesIO())
    try:
        finder.dump(value)
    except (pickle.PicklingError, AttributeError, TypeError):
        if finder.script_name is None:
            raise  # no other process can unpickle it
    return finder.script_name


class _ScriptNameFinder(pickle.Pickler):
    """Traverses all objects of a pickle, without writing tensors and arrays."""

    script_name: str | None = None

    def reducer_override(self, value: Any) -> Any:
        kind = value if isinstance(value, type) else type(value)
        for candidate in (value, kind):
            if getattr(candidate, "__module__", None) == "__main__":
                self.script_name = getattr(candidate, "__qualname__", None) or kind.__qualname__
        if kind.__module__ in ("numpy", "torch") and hasattr(value, "dtype"):
            return (int, ())
        return NotImplemented
