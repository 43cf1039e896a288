"""Prediction on images of any size, in the images' own pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils import _pytree as tree

from vertebra.errors import DataError
from vertebra.inference.ahead import ahead
from vertebra.inference.devices import pick_device
from vertebra.inference.fast import fast_copy
from vertebra.inference.precision import Precision, computing, lower
from vertebra.model import VisionModel
from vertebra.preprocess.images import SUFFIXES, apply, read_image, stack
from vertebra.preprocess.plan import Placement
from vertebra.tasks import get_task


class Result(Mapping[str, Any]):
    """What a model says of one image: a prediction for each branch, by the branch's name.

    Attributes:
        path: the image's file, or None where it came as an array.
        size: (height, width) of the image in pixels.
    """

    def __init__(self, predictions: dict[str, Any], path: Path | None, size: tuple[int, int]) -> None:
        self._predictions = predictions
        self.path = path
        self.size = size

    def __getitem__(self, branch: str) -> Any:
        return self._predictions[branch]

    def __iter__(self) -> Iterator[str]:
        return iter(self._predictions)

    def __len__(self) -> int:
        return len(self._predictions)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "image": None if self.path is None else str(self.path),
            "height": self.size[0],
            "width": self.size[1],
            **{name: prediction.to_dict() for name, prediction in self.items()},
        }


class _Image(NamedTuple):
    """An image that was read: its file or else its pixels, (height, width), where it lies on the canvas, and the canvas."""

    source: Path | np.ndarray
    size: tuple[int, int]
    place: Placement
    canvas: np.ndarray


class Predictor:
    """Runs a model on images, by the fastest way that gives the model's own outputs: see `fast_copy`. Files are read and
    prepared, and results finished, while the model works on other images.

    Args:
        model: stays as it is; a copy of it runs.
        device: "cpu", "cuda", "mps" …; by default the best there is.
        batch_size: images at a time.
        threshold: objects below this score are left out.
        skip_unreadable: leave unreadable files out with a warning instead of raising.
        precision: "fp32", or "bf16" or "fp16" (GPU), which are faster where the processor has them, and differ a little.
        compile: compile the model with ``torch.compile``: half a minute at first and for each new shape, then perhaps faster.
        threads: of the CPU that torch may use, for the whole process; None leaves that as it is.

    Raises:
        ConfigError: there is no such device, or it does not compute in this precision.
    """

    def __init__(
        self,
        model: VisionModel,
        *,
        device: str | torch.device | None = None,
        batch_size: int = 8,
        threshold: float = 0.3,
        skip_unreadable: bool = False,
        precision: Precision = "fp32",
        compile: bool = False,
        threads: int | None = None,
    ) -> None:
        self.device = pick_device(device)
        self.precision = precision
        self.batch_size = batch_size
        self.threshold = threshold
        self.skip_unreadable = skip_unreadable
        self.skipped: list[str] = []
        if threads is not None:
            torch.set_num_threads(threads)
        self.model = fast_copy(model, self.device)
        lower(self.model, precision, self.device)
        self._run: Callable[..., Any] = torch.compile(self.model) if compile else self.model

    def predict(self, images: Any) -> list[Result]:
        """Predictions for one image, a folder, or several images.

        Args:
            images: a file, a folder (all images in it, also in folders below), a Pillow image, an (H, W, C) or (H, W)
                array of 8 or 16 bit, or a sequence of these.

        Raises:
            DataError: a file is missing or unreadable; the message names it.
        """
        return list(self.stream(list_images(images)))

    def stream(self, images: Iterable[Any]) -> Iterator[Result]:
        """Predictions one after the other, for any number of images; see `predict`."""
        batches = self._batches(self._readable(ahead(self._read, images, threads=2, most=2 * self.batch_size)))
        finished = ahead(lambda finish: finish(), (self._compute(batch) for batch in batches), threads=1, most=1)
        for results in finished:
            yield from results

    def _read(self, source: Any) -> _Image | DataError:
        """An image on its canvas, or why it cannot be read."""
        channels: int = self.model.backbone.in_channels  # type: ignore[assignment]
        try:
            array = read_image(source, channels=channels)
        except DataError as error:
            return error
        height, width = array.shape[:2]
        kept = Path(source) if isinstance(source, str | Path) else array
        return _Image(kept, (height, width), self.model.plan.place(height, width), apply(self.model.plan, array))

    def _readable(self, images: Iterable[_Image | DataError]) -> Iterator[_Image]:
        for image in images:
            if not isinstance(image, DataError):
                yield image
            elif self.skip_unreadable:
                self.skipped.append(str(image))
            else:
                raise image

    def _batches(self, images: Iterable[_Image]) -> Iterator[list[_Image]]:
        rest = iter(images)
        while batch := list(islice(rest, self.batch_size)):
            yield batch

    @torch.inference_mode()
    def _compute(self, images: list[_Image]) -> Callable[[], list[Result]]:
        """Runs the model; what comes back makes the results."""
        canvases = stack([image.canvas for image in images], self.model.plan)
        tensor = torch.from_numpy(canvases).permute(0, 3, 1, 2).to(self.device)
        sizes = torch.tensor([image.place.size for image in images], device=self.device)
        with computing(self.precision, self.device):
            decoded = self._run(tensor, sizes)
        arrays = tree.tree_map(lambda value: value.cpu().numpy(), decoded)
        return partial(self._finish, images, arrays)

    def _finish(self, images: list[_Image], arrays: dict[str, Any]) -> list[Result]:
        results = []
        for index, image in enumerate(images):
            predictions = {
                name: self._prediction(name, type(own)(*(value[index] for value in own)), image)
                for name, own in arrays.items()
            }
            results.append(Result(predictions, image.source if isinstance(image.source, Path) else None, image.size))
        return results

    def _prediction(self, name: str, decoded: Any, image: _Image) -> Any:
        branch = self.model.branch(name)
        prediction = get_task(branch.task).from_decoded(decoded, image.place, branch.labels, image.source)
        return prediction.with_threshold(self.threshold)


def list_images(images: Any) -> list[Any]:
    """One entry for each image that a user means.

    Raises:
        DataError: a file or folder is missing, or a folder has no image.
    """
    if isinstance(images, list | tuple):
        return [image for entry in images for image in list_images(entry)]
    if not isinstance(images, str | Path):
        return [images]
    path = Path(images)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        if not found:
            raise DataError(f"{path}: no image in this folder (looked for {', '.join(sorted(SUFFIXES))})")
        return list(found)
    if not path.exists():
        raise DataError(f"{path}: no such image or folder")
    return [path]
