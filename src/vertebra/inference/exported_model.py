"""Prediction with an exported file; without torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.errors import ConfigError, VertebraError, WeightsError, first_line
from vertebra.inference.pipeline import Pipeline, Ready, Track
from vertebra.inference.results import Result
from vertebra.keywords import check_count, check_keywords, keyword_names
from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec
from vertebra.runtimes import find_format, open_file, read_metadata
from vertebra.runtimes.base import Session
from vertebra.runtimes.model_files.metadata import CLASS_MAP, from_json
from vertebra.tasks import get_task


class ExportedModel:
    """An opened exported file; its predictions equal those of the exported model.

    Args:
        path: the file.
        runtime: "onnx", "openvino" or "tensorrt"; None for the format's own runtime.
        threads: of the CPU; None for all cores.
        precision: of the computation, for runtimes that can choose it ("bf16" with OpenVINO); "int8" only checks that the file is
            int8.
        device: "cpu", or "cuda".

    Attributes:
        info: preprocessing, branches and classes.
        report: of the comparison with the model at export.
        config: of the model, or None.
        details: the producer, inputs, outputs and decoding; see `vertebra.runtimes.model_files.metadata.FileInfo`.
        class_maps: the branches whose output is the class of each pixel instead of probabilities.
        takes_pixels: whether preprocessing is in the file, which then takes images of any size; else it takes canvases.

    Raises:
        WeightsError: the file is missing, or was not exported by Vertebra.
        ConfigError: the runtime is not installed, does not run this file, or has no such precision or device.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        runtime: str | None = None,
        threads: int | None = None,
        precision: str | None = None,
        device: str | None = None,
    ) -> None:
        if threads is not None:
            check_count("threads", threads)
        self.path = Path(path)
        info, self.outputs, self.report, self.config, self.details = from_json(read_metadata(path), str(path))
        self.session = open_file(path, runtime=runtime, threads=threads, precision=precision, device=device)
        _check_shapes(self.session, self.outputs, info.resize_spec, path)
        self.info = info._replace(fixed=_why_fixed(self.path, self.session.inputs))
        self.takes_pixels = "pixels" in self.session.inputs
        self.class_maps = [name for name, fields in self.outputs.items() if fields == [CLASS_MAP]]
        if precision == "int8" and self.report.get("precision") != "int8":
            raise ConfigError(f"{path} is not int8; make such a file: export with precision='int8' (--precision int8)")

    def run(self, *arrays: np.ndarray) -> dict[str, list[np.ndarray]]:
        """Decoded outputs by branch, each branch's fields in order; see `vertebra.runtimes.base.Session.run`.

        Raises:
            WeightsError: the runtime fails.
        """
        try:
            values = iter(self.session.run(*arrays))
        except VertebraError:
            raise
        except Exception as error:  # each runtime raises its own types
            shapes = " and ".join(str(array.shape) for array in arrays)
            raise WeightsError(f"{self.path}: does not run on inputs {shapes} ({first_line(error)})") from error
        decoded = {branch: [next(values) for _ in fields] for branch, fields in self.outputs.items()}
        for branch, (task, labels) in self.info.branches.items():
            if get_task(task).image_level and decoded[branch][0].shape[-1] != labels.class_count:
                raise WeightsError(
                    f"{self.path}: its metadata has {labels.class_count} classes for branch '{branch}', and its outputs "
                    f"{decoded[branch][0].shape[-1]}; export the model again"
                )
        return decoded

    def predictor(self, **options: Any) -> ExportedPredictor:
        """A predictor on images of any size; see `ExportedPredictor`.

        Raises:
            UnknownName: there is no such option; the message has the most similar name.
        """
        check_keywords("predict", options, keyword_names(ExportedPredictor))
        return PixelPredictor(self, **options) if self.takes_pixels else ExportedPredictor(self, **options)

    def predict(self, images: Any, **options: Any) -> list[Result]:
        """Predictions for images of any size, in their own pixels; the options are those of `ExportedPredictor`."""
        return self.predictor(**options).predict(images)


def _check_shapes(
    session: Session, outputs: Mapping[str, Sequence[str]], resize_spec: ResizeSpec, path: str | Path
) -> None:
    """Checks that inputs and outputs agree with the metadata.

    Raises:
        WeightsError: they do not.
    """
    dimensions = {name: len(shape) for name, shape in session.inputs.items()}
    canvas = session.inputs.get("images", [])[2:]
    if (
        dimensions not in ({"pixels": 4}, {"images": 4, "sizes": 2})
        or sum(map(len, outputs.values())) != len(session.outputs)
        or any(
            isinstance(side, int) and side != expected for side, expected in zip(canvas, resize_spec.size, strict=False)
        )
    ):
        raise WeightsError(
            f"{path}: has inputs {session.inputs} and {len(session.outputs)} outputs, unlike its metadata; "
            "export the model again"
        )


def _why_fixed(path: Path, inputs: Mapping[str, Sequence[int | None]]) -> str:
    """Why a file takes canvases of one size; empty if it takes any size; see `ModelInfo`.

    Args:
        path: of the file.
        inputs: of its session.
    """
    if "pixels" in inputs:
        return f"{path.name} puts images onto its canvas itself; export one with input='canvas' (--input canvas)"
    sides = inputs["images"][2:]
    if any(isinstance(side, int) for side in sides):
        file_format = find_format(path)
        hint = (
            ""
            if file_format is not None and file_format.fixed_canvas
            else "; export one with input='canvas', canvas='free' (--input canvas --canvas free)"
        )
        return f"{path.name} was made for canvases of {'x'.join(map(str, sides))}{hint}"
    return ""


class ExportedPredictor(Pipeline):
    """Runs an exported file that takes canvases.

    Args:
        model: the file.
        batch_size: images, or tiles, in a batch.
        threshold: minimum score of objects, of all classes. By default the scores that the model stores by class, and 0.3 for a
            model without them. Of classes that may overlap it is the one of ``accepted``.
        skip_unreadable: skip unreadable files and list them in ``skipped`` instead of raising.
        tile: side, in image pixels, of the square tiles that larger images are split into; None for no tiles.
        overlap: minimum overlap of neighboring tiles, as a fraction of their side.
        flip: also run the model on the mirrored image, or tile, and merge the results.
        scales: of the canvas, for test-time augmentation; the file must take canvases of any size.
        probabilities: keep the probabilities of each class at each pixel, in the image's size, as ``probabilities`` of segmentation
            predictions: (K, H, W) float32, 4 bytes for each pixel and class.
        track: give the objects of videos ids: True, the name of a tracker ("bytetrack", "ocsort"), or a mapping of its options with
            the tracker as ``name``; see `vertebra.Tracker`. None for no tracks.

    Raises:
        ConfigError: the tiles or scales are invalid, or the model or the file does not support them.
    """

    def __init__(
        self,
        model: ExportedModel,
        *,
        batch_size: int = 8,
        threshold: float | None = None,
        skip_unreadable: bool = False,
        tile: int | None = None,
        overlap: float = 0.2,
        flip: bool = False,
        scales: Sequence[float] = (1.0,),
        probabilities: bool = False,
        track: Track = None,
    ) -> None:
        if model.class_maps and (tile is not None or flip or probabilities or tuple(scales) != (1.0,)):
            raise ConfigError(
                f"{model.path.name} outputs class maps, which tiles, flip, scales and probabilities cannot use: leave them out, or "
                "export a file without class_map=True (--class-map)"
            )
        super().__init__(
            model.info,
            batch_size=batch_size,
            threshold=threshold,
            skip_unreadable=skip_unreadable,
            tile=tile,
            overlap=overlap,
            flip=flip,
            scales=scales,
            probabilities=probabilities,
            track=track,
        )
        self.model = model

    def run(self, canvases: np.ndarray, sizes: np.ndarray) -> Mapping[str, Sequence[np.ndarray]]:
        """Decoded outputs of canvases; see `Pipeline.run`."""
        return self.model.run(np.ascontiguousarray(canvases.transpose(0, 3, 1, 2)), sizes)


class PixelPredictor(ExportedPredictor):
    """Runs an exported file that takes images of any size; consecutive images of one size form a batch.

    Args: see `ExportedPredictor`.
    """

    def run(self, canvases: np.ndarray, sizes: np.ndarray) -> Mapping[str, Sequence[np.ndarray]]:
        """Decoded outputs, in the images' own pixels."""
        return self.model.run(canvases)

    def _canvas(self, resize_spec: ResizeSpec, array: np.ndarray) -> tuple[ImageTransform, np.ndarray]:
        height, width = size = array.shape[:2]
        return ImageTransform(size, size, 1.0, 1.0, 0, 0, (height, width)), np.ascontiguousarray(array)

    def _batches(self, images: Iterable[Ready]) -> Iterator[list[Ready]]:
        for _, alike in groupby(images, key=lambda ready: ready.canvas.shape):
            yield from super()._batches(alike)
