"""Training with ``torch.compile``."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from vertebra.errors import ConfigError
from vertebra.model import VisionModel


def check_compiler(device: str) -> None:
    """Checks that what ``torch.compile`` needs for a kind of device is installed.

    Args:
        device: "cpu", "cuda" …

    Raises:
        ConfigError: it is not.
    """
    default = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    compiler = os.environ.get("CXX", default)
    if shutil.which(compiler) is None:
        raise ConfigError(
            f"train.compile needs a C++ compiler, and there is no '{compiler}' here; install one, name it in the environment "
            "variable CXX, or set train.compile=false"
        )
    if device == "cuda" and importlib.util.find_spec("triton") is None:
        raise ConfigError("train.compile needs the package 'triton' on a GPU; install it, or set train.compile=false")


@contextmanager
def compiled_parts(model: VisionModel, *, enabled: bool) -> Iterator[None]:
    """Compiles the parts of a model until the end of the context: backbone, necks, encoders, and the modules of each decoder.

    Matching, losses and decoding stay as they are. A part is compiled in its first step, and again for another number of images
    or between training and evaluation. The names of weights do not change.

    Args:
        model: that is trained.
        enabled: False: nothing is compiled.
    """
    parts = _parts(model) if enabled else []
    for part in parts:
        part.compile()
    try:
        yield
    finally:
        for part in parts:
            part._compiled_call_impl = None


def _parts(model: VisionModel) -> list[nn.Module]:
    branches = [model.branch(name) for name in model.branches]
    parts = [model.backbone, *model.shared]
    for branch in branches:
        parts += [part for part in (branch.neck, branch.encoder, *branch.decoder.children()) if part is not None]
    return parts
