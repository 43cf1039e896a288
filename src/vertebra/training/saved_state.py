"""The saved state of a run, checked before it is loaded."""

from __future__ import annotations

import pickle
import struct
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from torch import Tensor, nn
from torch.utils import _pytree as tree

from vertebra.checkpoints.guards import check_claims, check_zip
from vertebra.errors import RunError, WeightsError

PARTS = (
    "state_dict",
    "optimizer_states",
    "lr_schedulers",
    "loops",
    "callbacks",
    "epoch",
    "global_step",
    "skipped_steps",
    "origin",
)
DAMAGE = (
    *(WeightsError, struct.error, BadZipFile, OSError, EOFError),
    *(RuntimeError, ValueError, LookupError, TypeError, AttributeError),
)  # errors from reading a damaged file


def check_state(path: Path, module: nn.Module, callback_state: Sequence[str]) -> None:
    """Reads the state of a run without executing anything in it.

    Args:
        path: the file.
        module: the module whose weights it must fit.
        callback_state: keys of the run folder's state.

    Raises:
        RunError: it is damaged, holds more than plain values, or is of another model.
    """
    state = read_state(path)
    callbacks = state["callbacks"]
    folder_state = callbacks.get("RunFolder") if isinstance(callbacks, Mapping) else None
    missing = [name for name in callback_state if not isinstance(folder_state, Mapping) or name not in folder_state]
    if missing or not isinstance(state["state_dict"], Mapping):
        raise _foreign(path, missing or ["weights"])
    _check_tensors(path, state["state_dict"], module.state_dict())


def read_state(path: Path) -> Mapping[str, Any]:
    """The state of a run. Nothing in the file is executed, and its tensors stay on the disk until they are used.
    The checksums in the file detect changes since it was written.

    Raises:
        RunError: it is damaged, holds more than plain values, or is of another kind.
    """
    try:
        check_zip(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's advice on pickles that it did not write
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        check_claims(
            path, {str(n): value for n, value in enumerate(tree.tree_leaves(state)) if isinstance(value, Tensor)}
        )
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error):  # a class or function that unpickling would have called
            raise RunError(
                f"{path}: holds more than plain values, and nothing in a file is executed; {_cure(path)}"
            ) from None
        raise damaged(path) from None
    except DAMAGE:
        raise damaged(path) from None
    if not isinstance(state, Mapping):
        raise damaged(path)
    missing = [name for name in PARTS if name not in state]
    if missing:
        raise _foreign(path, missing)
    return state


def _foreign(path: Path, missing: Sequence[str]) -> RunError:
    return RunError(
        f"{path}: not the state of a run of this version of Vertebra (without {', '.join(missing)}); {_cure(path)}"
    )


def damaged(path: Path) -> RunError:
    """The error for a file that is damaged or incomplete."""
    return RunError(f"{path}: cut off or damaged; {_cure(path)}")


def _cure(path: Path) -> str:
    """How to continue without the file."""
    best = path.parent / "model.safetensors"
    if best.exists():
        return f"start a new run from the best weights so far: --from {best}, or vertebra.load(...).fit(...)"
    return "start the run again in another folder: out=... (--out)"


def _check_tensors(path: Path, saved: Mapping[str, Any], expected: Mapping[str, Tensor]) -> None:
    """Checks that the saved tensors are those of the run's model."""
    missing = [name for name in expected if name not in saved]
    leftover = [name for name in saved if name not in expected]
    shapes = [
        name
        for name, value in saved.items()
        if name in expected and getattr(value, "shape", None) != expected[name].shape
    ]
    problems = [
        f"{len(names)} {what} (first: {names[0]})"
        for what, names in (("missing", missing), ("left over", leftover), ("of another shape", shapes))
        if names
    ]
    if problems:
        raise RunError(
            f"{path}: its tensors are not those of the model in config.yaml: {', '.join(problems)}; "
            "resume with the config that the run began with"
        )
