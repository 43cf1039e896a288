"""Every error that Vertebra raises on purpose.

    VertebraError
    ├── ConfigError        a config file or an option is wrong
    │   └── UnknownName    a part, option, task or class that does not exist (names the nearest right ones)
    ├── IncompatiblePartsError         two parts do not fit each other
    ├── DataError          a data set, image or annotation is wrong
    ├── WeightsError       a weight file is missing, damaged or fits nothing
    ├── MissingFieldError  a prediction does not have what was asked for
    ├── RunError           a run folder is missing, in the way or not resumable
    │   └── RunStopped     a signal stopped a run
    └── ExportError        a model cannot be exported, or the file does not say what the model says

The command line prints the message of a ``VertebraError`` in one line and exits with its ``exit_code``: 2, or 128 plus the
signal's number where a signal stopped the work. ``StoppedBySignal`` is no ``VertebraError``: like ``KeyboardInterrupt`` it
passes through everything that handles errors.
"""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable
from typing import Any


class VertebraError(Exception):
    """Base of all errors that a user can put right. They keep their message on the way from one process to another.

    Attributes:
        exit_code: of the command line.
    """

    exit_code: int = 2

    def __reduce__(self) -> tuple[Any, ...]:
        """As of `pickle`: the message is kept, so it is not made once more."""
        return _as_it_was, (type(self), self.args, self.__dict__)


def _as_it_was(kind: type[VertebraError], args: tuple[Any, ...], values: dict[str, Any]) -> VertebraError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(values)
    return error


class ConfigError(VertebraError, ValueError):
    """An option has a wrong value or type."""


class UnknownName(ConfigError):
    """A name that nothing answers to.

    Args:
        what: what was looked for, in domain words ("neck", "option of decoder 'fcos'").
        name: the name that was given.
        known: the names that exist.
    """

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        self.name = name
        shown = shortened(name)
        self.nearest = nearest(shown, known)
        super().__init__(f"unknown {what} '{shown}'. {suggest(shown, known)}")


class IncompatiblePartsError(VertebraError, ValueError):
    """A part cannot stand on what comes in.

    A part never looks upstream, so it only tells what it needs and what would help; ``vertebra.build`` adds the names
    of both parts.

    Args:
        needs: what the part needs, without a subject: "a level at stride 4 or 8".
        cure: a full sentence: "Add neck 'simple_pyramid'."
    """

    def __init__(self, needs: str, cure: str) -> None:
        self.needs = needs
        self.cure = cure
        super().__init__(f"needs {needs}. {cure}")

    def between(self, part: str, upstream: str, gives: str) -> IncompatiblePartsError:
        """The same error with the names of both parts: the message that a user reads."""
        named = IncompatiblePartsError(self.needs, self.cure)
        named.args = (f"{part} needs {self.needs}; {upstream} gives {gives}. {self.cure}",)
        return named


class DataError(VertebraError, ValueError):
    """A data set, an image or an annotation is wrong."""


class MissingFieldError(VertebraError, AttributeError):
    """A prediction or result does not have a field, as classes of an image have no boxes."""


class WeightsError(VertebraError, ValueError):
    """A weight file is missing, damaged, or fits nothing in the model."""


class ObjectPartWarning(UserWarning):
    """A part of a model was given as an object, so that a file of the model cannot rebuild it alone."""


class RunError(VertebraError, RuntimeError):
    """A run folder is missing, in the way, or cannot be resumed."""


class RunStopped(RunError):
    """A signal stopped a training run.

    Args:
        message: what is saved, and how to go on.
        number: the signal.
    """

    def __init__(self, message: str, number: int) -> None:
        self.exit_code = 128 + number
        super().__init__(message)


class StoppedBySignal(BaseException):
    """A signal asks to stop at once.

    Args:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.number).name}"


def shortened(text: str, most: int = 60) -> str:
    """A text on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def nearest(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The names in ``known`` that look most like ``name``, best first."""
    return difflib.get_close_matches(name, list(known), n=most, cutoff=0.5)


def suggest(name: str, known: Iterable[str]) -> str:
    """A sentence with the nearest names, or with all names if none is near and they are few."""
    names = list(known)
    close = nearest(name, names)
    if close:
        return "Did you mean " + " or ".join(f"'{candidate}'" for candidate in close) + "?"
    if names and len(names) <= 12:
        return "There is: " + ", ".join(sorted(names)) + "."
    return "Nothing is called so, nor nearly so."


class ExportError(VertebraError, RuntimeError):
    """A model cannot be exported, or the exported file does not say what the model says."""


TRAINING_PACKAGES = frozenset(
    {"torch", "torchvision", "timm", "lightning", "torchmetrics", "faster_coco_eval", "pydantic", "yaml", "safetensors"}
)


def missing_package(error: ModuleNotFoundError) -> ConfigError | None:
    """What to tell where a package of the extra ``train`` is not installed; None for any other package."""
    name = (error.name or "").partition(".")[0]
    if name not in TRAINING_PACKAGES:
        return None
    return ConfigError(f"this needs '{name}', which is not installed; install it: {install_command('train')}")


def install_command(extra: str) -> str:
    """The command that installs an optional group of packages. Vertebra has no release yet, so it runs in a checkout.

    Args:
        extra: the name of the group in ``pyproject.toml``, or several with commas between them.
    """
    return f"pip install '.[{extra}]' in a checkout of Vertebra"
