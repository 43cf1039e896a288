"""Exported files on their way: made in a folder of their own, described, and moved to their name when all is well."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vertebra.errors import ExportError, RunError
from vertebra.export.torch_export import RAW
from vertebra.files import os_errors_told, take_name
from vertebra.runtimes.base import Session
from vertebra.runtimes.model_files.checksum import weights_beside


def parts(path: Path) -> list[Path]:
    """All files of an export, in the order in which they get their names: the weights of OpenVINO's first, so that a file is never
    without them, and what it says of itself as JSON last, so that this is never without its file."""
    weights = weights_beside(path)
    return [*([] if weights is None else [weights]), path, json_beside(path)]


def json_beside(path: Path) -> Path:
    """The JSON file beside an export, for what cannot read the metadata inside; nothing of Vertebra reads it."""
    return path.with_name(f"{path.name}.json")


def refuse_existing(path: Path) -> None:
    """Nothing is overwritten.

    Raises:
        RunError: one of the files exists.
    """
    for part in parts(path):
        if part.exists():
            raise _taken(part)


def _taken(path: Path) -> RunError:
    return RunError(f"{path} exists, and nothing is overwritten; choose another name")


def publish_export(made: Path, path: Path) -> None:
    """Gives all files of a finished export their names.

    Args:
        made: the finished file, on the same disk.
        path: its name.

    Raises:
        RunError: a name was taken meanwhile; what is there stays, and nothing of this export is left.
    """
    published: list[Path] = []
    for part, target in zip(parts(made), parts(path), strict=True):
        if not take_name(part, target):
            for own in published:
                own.unlink()
            raise _taken(target)
        published.append(target)


@contextmanager
def workshop(path: Path) -> Iterator[Path]:
    """A folder beside the target, on the same disk, that is gone afterwards."""
    with os_errors_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def drop_raw_outputs(path: Path) -> None:
    """Takes the raw outputs, which were there to be compared, out of an ONNX file."""
    import onnx

    proto = onnx.load(str(path))
    kept = [value for value in proto.graph.output if not value.name.startswith(RAW)]
    del proto.graph.output[:]
    proto.graph.output.extend(kept)
    read = {name for node in proto.graph.node for name in node.input} | {value.name for value in kept}
    for value in [value for value in proto.graph.initializer if value.name not in read]:
        proto.graph.initializer.remove(value)
    onnx.save(proto, str(path))


def check_free_dimensions(session: Session, free_size: bool) -> None:
    """What is promised to be free must not be a number in the file: it would run at one size only.

    Args:
        session: the file.
        free_size: whether height and width are promised; a file that takes pixels always promises them.

    Raises:
        ExportError: with the input or output that is frozen.
    """
    for name, shape in [*session.inputs.items(), *session.outputs.items()]:
        if isinstance(shape[0], int) and not name.startswith(
            RAW
        ):  # raw outputs may be anchors, the same for all images
            raise ExportError(f"the batch of '{name}' is frozen at {shape[0]}")
    if "pixels" in session.inputs:
        sides, free_size = session.inputs["pixels"][1:3], True
    else:
        sides = session.inputs["images"][2:]
    if free_size and any(isinstance(side, int) for side in sides):
        raise ExportError(f"height and width are frozen at {sides}")
