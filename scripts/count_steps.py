"""Counts files, stack frames and types on two paths: one image through ``predict``, and a COCO file to the loss.

    python scripts/count_steps.py                       # of the package that Python imports
    PYTHONPATH=OTHER/src python scripts/count_steps.py  # of another version

Printed for ``predict`` (one PNG file, detection, no tiles, no test-time augmentation; the second call, which builds nothing):

- files: files of the package in which a function runs between the call and the result, in any thread
- depth: the largest number of the package's frames on one thread's stack

Both are counted without the model, whose forward pass does not depend on the preprocessing, and with it.

Printed for a COCO file to the loss (training batch without augmentation; the second time, which imports nothing):

- files: as above, without the model and with it
- types: classes of the package that hold the annotation, in an instance that one of the package's functions takes or returns. An
  instance holds it if one of its attributes, or an item of a list, tuple or dictionary there, is an array, tensor or list with the
  corners of the only box of the data set. The image has the size of the canvas, so the corners are the same in the file and in the
  loss.

The types are five, one for each form that the annotations need:

- an entry of the file, as it is decoded
- the objects of the data set, one form for all formats, from which each task derives its column
- a column: the annotations of all images as a few arrays, which loader processes share without copies
- an annotation: one image in numpy, which is augmented and mapped to the branch's classes
- targets: one batch as padded tensors, which the loss takes

The format is named: to detect it, every reader is asked. Most files on this path read the data set: the reader of the format, its
checks, and the task's reading of what it holds.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

import vertebra

PACKAGE = str(Path(vertebra.__file__).parent) + "/"
SIDE = 64
BOX = (11.0, 7.0, 50.0, 41.0)  # xyxy in pixels
Model = Any


class Steps(NamedTuple):
    """The counts of one call.

    Attributes:
        files: files of the package that ran outside the model, relative to the package.
        files_with_model: all files of the package that ran.
        stack: functions on the deepest stack outside the model, outermost first.
        depth_with_model: the largest number of the package's frames on one stack.
        types: names of the classes that held the annotation; empty if none was followed.
    """

    files: list[str]
    files_with_model: list[str]
    stack: list[str]
    depth_with_model: int
    types: list[str]


def count(call: Callable[[], Any], holds: Callable[[Any], bool] | None = None) -> Steps:
    """Runs a function and counts the files, frames and types on its way.

    Args:
        call: the function.
        holds: whether an object holds the followed annotation; None to follow none.
    """
    inside: tuple[CodeType, ...] = tuple(
        getattr(vertebra.VisionModel, name).__code__
        for name in ("forward", "loss")
        if hasattr(vertebra.VisionModel, name)
    )
    files: set[str] = set()
    outside: set[str] = set()
    types: dict[str, None] = {}
    stacks: dict[bool, list[str]] = {True: [], False: []}

    def watch(frame: FrameType, event: str, value: Any) -> None:
        if event not in ("call", "return") or not _is_package_frame(frame):
            return
        if event == "call":
            stack = list(_stack(frame))
            in_model = any(caller.f_code in inside for caller in stack)
            name = frame.f_code.co_filename.removeprefix(PACKAGE)
            files.add(name)
            if not in_model:
                outside.add(name)
            if len(stack) > len(stacks[in_model]):
                stacks[in_model] = [_name(caller) for caller in reversed(stack)]
        if holds is not None:
            passed = [value] if event == "return" else list(frame.f_locals.values())
            types.update({f"{type(item).__module__}.{type(item).__qualname__}": None for item in passed if holds(item)})

    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    deepest = max(len(stacks[True]), len(stacks[False]))
    return Steps(sorted(outside), sorted(files), stacks[False], deepest, list(types))


def count_predict(folder: Path) -> Steps:
    """One PNG file through ``predict``, tiles and test-time augmentation off."""
    model, path = make_model(), folder / "images" / "a.png"
    model.predict(path)
    return count(lambda: model.predict(path))


def count_training(folder: Path) -> Steps:
    """From a COCO file to the loss of one batch."""
    model = make_model().train()
    train_once(model, folder)
    return count(lambda: train_once(model, folder), holds_box)


def train_once(model: Model, folder: Path) -> None:
    """Opens the data set, loads its only batch, and computes the loss."""
    from vertebra.data.loaders import build_loader
    from vertebra.data.open import open_data
    from vertebra.data.sampler import MixSampler
    from vertebra.data.samples import MixedData
    from vertebra.data.sources import Source
    from vertebra.data.transforms import Augment

    index = open_data(folder, "detect", "train", format="coco")
    labels = {name: model.branch(name).labels for name in model.branches}
    canvas = model.resize_spec if hasattr(model, "resize_spec") else model.plan  # its name in older versions
    data = MixedData([Source(index, {"detect": "detect"})], labels, canvas, Augment.preset("none"))
    for batch in build_loader(data, MixSampler(data, 1)):
        targets = {name: (branch.rows, branch.targets) for name, branch in batch.targets.items()}
        model.loss(batch.images, batch.sizes, targets)


def make_model() -> Model:
    """A small detector whose canvas has the size of the image."""
    torch.manual_seed(0)
    return vertebra.create_model(
        backbone={"name": "test_resnet", "pretrained": False},
        neck="fpn",
        decoder="retinanet",
        classes=["one"],
        image_size=(SIDE, SIDE),
    ).eval()


def write_data(folder: Path) -> None:
    """A COCO data set of one image with one box."""
    (folder / "images").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "images" / "a.png")
    left, top, right, bottom = BOX
    annotation = {
        "id": 1, "image_id": 1, "category_id": 1, "bbox": [left, top, right - left, bottom - top],
        "area": (right - left) * (bottom - top), "iscrowd": 0,
    }  # fmt: skip
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": SIDE, "width": SIDE}],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": "one"}],
    }
    (folder / "annotations").mkdir()
    (folder / "annotations" / "instances_train.json").write_text(json.dumps(content))


def holds_box(value: Any) -> bool:
    """Whether an object of a class of the package holds the box directly, not in another such object."""
    return _is_package_type(value) and not isinstance(value, type) and any(_has_corners(part) for part in _parts(value))


def _parts(value: Any) -> Iterator[Any]:
    """Attributes of an object and the items of lists, tuples and dictionaries in them, without other package objects' content."""
    if isinstance(value, tuple):
        waiting: list[Any] = list(value)
    else:
        names = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
        waiting = [*getattr(value, "__dict__", {}).values(), *(getattr(value, name, None) for name in names)]
    while waiting:
        part = waiting.pop()
        if _is_package_type(part):
            continue
        yield part
        if isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, list | tuple):
            waiting += part


def _has_corners(part: Any) -> bool:
    if isinstance(part, torch.Tensor):
        part = part.detach().cpu().numpy()
    if isinstance(part, list) and part and all(isinstance(number, int | float) for number in part):
        part = np.array(part)
    if not isinstance(part, np.ndarray) or part.dtype.kind not in "uif" or part.size < 4 or part.size > 64:
        return False
    numbers = part.ravel().tolist()
    left, top, right, bottom = BOX
    forms = ([left, top, right, bottom], [left, top, right - left, bottom - top])
    return any(numbers[start : start + 4] in forms for start in range(len(numbers) - 3))


def _is_package_type(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "vertebra"


def _is_package_frame(frame: FrameType) -> bool:
    """Whether a frame runs a function of the package, not a module or class body."""
    code = frame.f_code
    return code.co_filename.startswith(PACKAGE) and code.co_name != "<module>" and bool(code.co_flags & 2)


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    """The package's frames, innermost first."""
    while frame is not None:
        if _is_package_frame(frame):
            yield frame
        frame = frame.f_back


def _name(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename.removeprefix(PACKAGE)}:{frame.f_code.co_qualname}"


def main() -> None:
    """Prints both counts; with ``--names`` also the names of files, functions and types."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder)
        predict, training = count_predict(folder), count_training(folder)
    print(f"package:        {PACKAGE}")
    print(f"predict:        {len(predict.files)} files, {len(predict.stack)} frames deep")
    print(f"  with model:   {len(predict.files_with_model)} files, {predict.depth_with_model} frames deep")
    print(f"COCO to loss:   {len(training.files)} files, {len(training.types)} types")
    print(f"  with model:   {len(training.files_with_model)} files")
    if "--names" in sys.argv:
        print("\npredict, deepest stack:", *predict.stack, sep="\n  ")
        print("\npredict, files:", *predict.files, sep="\n  ")
        print("\nCOCO to loss, files:", *training.files, sep="\n  ")
        print("\nCOCO to loss, types:", *training.types, sep="\n  ")


if __name__ == "__main__":
    main()
