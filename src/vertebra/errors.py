"""All errors that Vertebra raises for its users.

    VertebraError
    ├── ConfigError        a config file or an option is wrong
    │   └── UnknownName    a part, option, task or class that does not exist (the message has the nearest names)
    ├── IncompatiblePartsError  two parts do not fit each other
    ├── DataError          a data set, image or annotation is wrong
    ├── WeightsError       a weight file is missing, damaged or fits nothing
    ├── MissingFieldError  a prediction does not have a field
    ├── RunError           a run folder is missing, exists already or cannot be resumed
    │   └── RunStopped     a signal stopped a run
    └── ExportError        a model cannot be exported, or the file differs from the model

The command line prints the message of a ``VertebraError`` in one line and exits with its ``exit_code``: 2, or 128 plus the
signal's number where a signal stopped the work. ``StoppedBySignal`` is no ``VertebraError``: like ``KeyboardInterrupt`` it
is not caught by error handlers.
"""

from __future__ import annotations

import difflib
import re
import signal
from collections.abc import Iterable
from typing import Any

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class VertebraError(Exception):
    """Base of all errors that a user can fix. They keep their message when they are pickled for another process.

    Attributes:
        exit_code: of the command line.
    """

    exit_code: int = 2

    def __str__(self) -> str:
        """The message in one line: line ends and other control characters, as in a file's name, are written as ``\\n``."""
        return _CONTROL.sub(lambda character: character[0].encode("unicode_escape").decode("ascii"), super().__str__())

    def __reduce__(self) -> tuple[Any, ...]:
        """For `pickle`: restores the message without calling ``__init__``."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[VertebraError], args: tuple[Any, ...], values: dict[str, Any]) -> VertebraError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(values)
    return error


class ConfigError(VertebraError, ValueError):
    """An option has a wrong value or type."""


class UnknownName(ConfigError):
    """A name that does not exist.

    Args:
        what: the kind of name, in domain words ("neck", "option of decoder 'fcos'").
        name: the unknown name.
        known: the names that exist.
    """

    def __init__(self, what: str, name: object, known: Iterable[str]) -> None:
        self.name = str(name)
        shown = shortened(self.name)
        self.nearest = nearest(shown, known)
        super().__init__(f"unknown {what} '{shown}'. {suggest(shown, known)}")


class IncompatiblePartsError(VertebraError, ValueError):
    """A part cannot work with its input features.

    A part does not know the part before it, so it only raises what it needs and a remedy; ``vertebra.build`` adds the
    names of both parts.

    Args:
        needs: the requirement, without a subject: "a level at stride 4 or 8".
        cure: a full sentence: "Add neck 'simple_pyramid'."
    """

    def __init__(self, needs: str, cure: str) -> None:
        self.needs = needs
        self.cure = cure
        super().__init__(f"needs {needs}. {cure}")

    def between(self, part: str, upstream: str, gives: str) -> IncompatiblePartsError:
        """The same error with the names of both parts in its message."""
        named = IncompatiblePartsError(self.needs, self.cure)
        named.args = (f"{part} needs {self.needs}; {upstream} gives {gives}. {self.cure}",)
        return named


class DataError(VertebraError, ValueError):
    """A data set, an image or an annotation is wrong."""


class MissingFieldError(VertebraError, AttributeError):
    """A prediction or result does not have a field, such as boxes of a classification."""


class WeightsError(VertebraError, ValueError):
    """A weight file is missing, damaged, or fits nothing in the model."""


class ObjectPartWarning(UserWarning):
    """A part of a model was given as an object, which a file of the model does not hold."""


class ImageRangeWarning(UserWarning):
    """Images of more than 8 bits use a small part of the range of their type, so a model gets them nearly black."""


class RunError(VertebraError, RuntimeError):
    """A run folder is missing, exists already, or cannot be resumed."""


class RunStopped(RunError):
    """A signal stopped a training run.

    Args:
        message: what was saved, and how to continue.
        number: the signal.
    """

    def __init__(self, message: str, number: int) -> None:
        self.exit_code = 128 + number
        super().__init__(message)


class StoppedBySignal(BaseException):
    """A signal requests an immediate stop.

    Args:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.number).name}"


def shortened(text: str, length: int = 60) -> str:
    """A text on one line, truncated to a length."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


RENAMED = {
    "anchors_per_object": "min_anchors_per_object",
    "best": "monitor",
    "candidates": "pre_nms_topk",
    "class_map": "rename_classes",
    "exclusive": "multilabel",
    "hardest": "ohem_fraction",
    "keep": "max_detections",
    "least_quality": "min_quality",
    "on": "boxes_from",
    "post": "postprocess",
    "score_floor": "score_threshold",
    "start_from": "init_from",
    "taps": "out_indices",
    "width": "embed_dim",
}
"""Names of options in earlier versions, with their names now."""


MAX_GAP = 0.3  # of similarity, between the best suggestion and a further one


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The names in ``known`` that are most similar to ``name``, best first, without those that are much less similar than the
    best one; only the new name of a renamed option."""
    known = list(known)
    if RENAMED.get(name) in known:
        return [RENAMED[name]]
    close = difflib.get_close_matches(name, known, n=count, cutoff=0.5)
    similarities = [difflib.SequenceMatcher(None, similar, name).ratio() for similar in close]
    return [similar for similar, value in zip(close, similarities, strict=True) if value >= max(similarities) - MAX_GAP]


def suggest(name: str, known: Iterable[str]) -> str:
    """A sentence with the nearest names, or with all names if none is similar and they are few."""
    names = list(known)
    close = nearest(name, names)
    if close == [RENAMED.get(name)]:
        inverted = " (inverted: exclusive: false is now multilabel: true)" if name == "exclusive" else ""
        return f"It is now '{close[0]}'{inverted}."
    if close:
        return "Did you mean " + " or ".join(f"'{candidate}'" for candidate in close) + "?"
    if names and len(names) <= 12:
        return "There is: " + ", ".join(sorted(names)) + "."
    return "There is no similar name."


class ExportError(VertebraError, RuntimeError):
    """A model cannot be exported, or the exported file differs from the model."""


TRAINING_PACKAGES = frozenset(
    {"torch", "torchvision", "timm", "lightning", "torchmetrics", "faster_coco_eval", "pydantic", "yaml", "safetensors"}
)


def missing_package(error: ModuleNotFoundError) -> ConfigError | None:
    """The error for a missing package of the extra ``train``; None for any other package."""
    name = (error.name or "").partition(".")[0]
    if name not in TRAINING_PACKAGES:
        return None
    return ConfigError(f"this needs '{name}', which is not installed; install it: {install_command('train')}")


def install_command(extra: str) -> str:
    """The command that installs an optional group of packages. Vertebra has no release yet, so it runs in a checkout.

    Args:
        extra: the name of the group in ``pyproject.toml``, or several, separated by commas.
    """
    return f"pip install '.[{extra}]' in a checkout of Vertebra"


def first_line(error: BaseException) -> str:
    """The first line of an error's message that is not empty, or the error's type."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
