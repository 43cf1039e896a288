"""Preprocessing as a graph: from images of any size to canvases, and from the canvas' coordinates back to the image's.

The resize rule of `vertebra.preprocess` is written as two matrix products, because the ``Resize`` operators of runtimes differ, and
some have no antialiasing. The result is within one gray level of Pillow's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vertebra.errors import ExportError, first_line
from vertebra.export.parity import Run, difference
from vertebra.export.suppress_output import quiet
from vertebra.export.torch_export import RAW
from vertebra.model_info import ModelInfo
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.image_transform_torch import ImageTransforms, to_canvas
from vertebra.preprocess.images import apply
from vertebra.runtimes.model_files.metadata import CLASS_MAP
from vertebra.tasks import get_task

BACK = "_in_image"  # what the names of outputs end in, inside
TOLERANCE = 1e-4
GRAY_LEVELS = 1
OTHER_CLASSES = 0.001  # the share of pixels that rounding may give another class
PLACED = ("images", "sizes", *ImageTransforms._fields)


class Placer(nn.Module):
    """Images of one size onto the canvas, as `vertebra.preprocess.images.apply` puts them there.

    Args:
        resize_spec: how; its canvas must be the same for all images.
        channels: of the images.

    Raises:
        ExportError: each image has a canvas of its own.
    """

    fill: Tensor

    def __init__(self, resize_spec: ResizeSpec, channels: int) -> None:
        super().__init__()
        if resize_spec.mode == "shortest_edge":
            raise ExportError("each image has a canvas of its own (shortest_edge): export with --input canvas")
        self.resize_spec = resize_spec
        fill = torch.tensor(resize_spec.fill_for(channels), dtype=torch.float32)
        self.register_buffer("fill", fill[:, None, None], persistent=False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """
        Args:
            pixels: (N, H, W, C) uint8, images of one size.

        Returns:
            Canvases (N, C, height, width) uint8, their valid pixels (N, 2) int64, and the three of `ImageTransforms`.
        """
        canvases, sizes, transforms = to_canvas(pixels, self.resize_spec, self.fill)
        return canvases, sizes, *transforms


class Returner(nn.Module):
    """Decoded outputs of the branches into the images' own pixels.

    Args:
        info: of the model.
        fields: by branch, the type of its decoded outputs.
        class_maps: whether a branch that has a class for each pixel gives these, and no probabilities.

    Attributes:
        names: of the outputs, ``branch/field``.
    """

    def __init__(self, info: ModelInfo, fields: Mapping[str, Any], class_maps: bool = False) -> None:
        super().__init__()
        self.tasks = {name: get_task(task) for name, (task, _) in info.branches.items()}
        self.fields = fields
        self.maps = {name: task.class_map for name, task in self.tasks.items() if class_maps and task.class_map}
        self.names = [
            f"{name}/{field}"
            for name, kind in fields.items()
            for field in ([CLASS_MAP] if name in self.maps else kind._fields)
        ]

    def forward(self, pixels: Tensor, original: Tensor, resized: Tensor, offset: Tensor, *values: Tensor) -> Any:
        """
        Args:
            pixels: (N, H, W, C), of which only the shape counts.
            original, resized, offset: of `ImageTransforms`.
            values: the fields of all branches in their order.
        """
        size = (pixels.shape[1], pixels.shape[2])
        rest, outputs = iter(values), []
        for name, kind in self.fields.items():
            decoded, geometry = kind(*(next(rest) for _ in kind._fields)), ImageTransforms(original, resized, offset)
            if name in self.maps:
                outputs.append(self.maps[name](decoded, geometry, size))
            else:
                outputs += list(self.tasks[name].to_image(decoded, geometry, size))
        return tuple(value.clone() for value in outputs)  # an output must not be an input


def wrap_in_pixels(
    network: Path,
    target: Path,
    info: ModelInfo,
    decoded: Mapping[str, Any],
    names: Sequence[str],
    *,
    class_maps: bool = False,
) -> tuple[Placer, Returner]:
    """An ONNX file that takes ``pixels`` (N, H, W, C) uint8 and gives outputs in their pixels, around one that takes canvases.

    After the outputs it gives the canvases and sizes within, to be compared.

    Args:
        network: the file of the network, with its canvas fixed.
        target: the file to write.
        info: of the model.
        decoded: by branch, its decoded outputs on an example of two canvases.
        names: of the network's outputs.
        class_maps: see `Returner`.

    Returns:
        What is before and behind the network, as modules.

    Raises:
        ExportError: each image has a canvas of its own, or torch cannot make the graph.
    """
    import onnx

    placer = Placer(info.resize_spec, info.channels)
    returner = Returner(info, {name: type(fields) for name, fields in decoded.items()}, class_maps)
    height, width = info.resize_spec.size
    pixels = torch.zeros(2, height + 3, width + 5, info.channels, dtype=torch.uint8)
    with torch.no_grad():
        placed = placer(pixels)
    values = [value for fields in decoded.values() for value in fields]
    free: Any = torch.export.Dim.DYNAMIC
    shape = {0: free, 1: free, 2: free}
    front = _graph(placer, (pixels,), (shape,), ["pixels"], PLACED)
    inputs = ["pixels", *ImageTransforms._fields, *names]
    own_shapes: tuple[Any, ...] = (shape, None, None, None, tuple({0: free} for _ in values))
    back = _graph(
        returner, (pixels, *placed[2:], *values), own_shapes, inputs, [name + BACK for name in returner.names]
    )
    onnx.save(_joined(front, onnx.load(str(network)), back, names, returner.names), str(target))
    return placer, returner


def check_pixels(
    ends: tuple[Placer, Returner], network: Run, whole: Run, images: Iterable[np.ndarray]
) -> dict[str, float]:
    """Compares a file that takes pixels with the file of its network, which has been compared with the model.

    Args:
        ends: what is before and behind the network.
        network: from canvases and sizes to all outputs.
        whole: from pixels to all outputs, and after them the canvases and sizes within.
        images: (H, W, C) uint8.

    Returns:
        By size of the image, the largest difference, relative to the largest value of an output.

    Raises:
        ExportError: an image comes to lie elsewhere or with other pixels than Pillow gives it, or an output differs.
    """
    placer, returner = ends
    differences = {}
    for image in images:
        name = f"pixels {image.shape[0]}x{image.shape[1]}"
        pixels = np.stack([image, image[::-1]])
        try:
            *got, canvases, sizes = whole(pixels)
        except Exception as error:  # each runtime raises its own types
            raise ExportError(f"the exported file does not run on {name}: {first_line(error)}") from error
        for source, canvas, size in zip(pixels, canvases, sizes.tolist(), strict=True):
            _check_canvas(placer.resize_spec, source, canvas.transpose(1, 2, 0), size, name)
        transforms = ImageTransforms.of(placer.resize_spec, *(torch.tensor([side]) for side in image.shape[:2]))
        values = map(torch.from_numpy, network(canvases, sizes))
        expected = [value.numpy() for value in returner(torch.from_numpy(pixels), *transforms, *values)]
        differences[name] = max(
            output_difference(f"{output} ({name})", left, right)
            for output, left, right in zip(returner.names, expected, got, strict=True)
        )
    return differences


def output_difference(name: str, expected: np.ndarray, got: np.ndarray) -> float:
    """How far one output is off: of numbers, relative to the largest; of class maps, the share of pixels of another class, since
    rounding decides between two classes that are nearly as likely.

    Raises:
        ExportError: it is more than is allowed, or the shape or type is another.
    """
    if not name.partition(" ")[0].endswith(f"/{CLASS_MAP}"):
        return difference(name, expected, got, TOLERANCE)
    if expected.shape != got.shape or expected.dtype != got.dtype:
        raise ExportError(
            f"'{name}' is {got.dtype} {got.shape} in the exported file and {expected.dtype} {expected.shape} in PyTorch"
        )
    share = float((expected != got).mean())
    if share > OTHER_CLASSES:
        raise ExportError(f"'{name}' of the exported file has another class than PyTorch for {share:.1%} of its pixels")
    return share


def _check_canvas(resize_spec: ResizeSpec, image: np.ndarray, canvas: np.ndarray, size: list[int], name: str) -> None:
    apart = np.abs(canvas.astype(int) - apply(resize_spec, image)).max()
    wanted = resize_spec.transform(image.shape[0], image.shape[1]).size
    if apart > GRAY_LEVELS or tuple(size) != wanted:
        raise ExportError(
            f"{name}: the graph puts the image on {size} of the canvas, {apart} gray levels off; {wanted} and 1 would be right"
        )


def color_blocks(resize_spec: ResizeSpec, channels: int) -> list[np.ndarray]:
    """Images smaller, larger, taller and wider than the canvas, of a few plain colors.

    Returns:
        (H, W, C) uint8.
    """
    draw = np.random.default_rng(0)
    height, width = resize_spec.size
    sizes = [(height // 2 + 5, width // 2 + 3), (2 * height + 7, width + 11), (height, width), (height - 5, 3 * width)]
    images = []
    for rows, columns in sizes:
        colors = draw.integers(0, 256, (3, 4, channels), dtype=np.uint8)
        images.append(colors[np.arange(rows) * 3 // rows][:, np.arange(columns) * 4 // columns])
    return images


def _graph(module: nn.Module, example: tuple[Tensor, ...], shapes: Any, inputs: Sequence[str], outputs: Any) -> Any:
    with quiet():
        try:
            program = torch.onnx.export(
                module.eval(),
                example,
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=list(inputs),
                output_names=list(outputs),
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise ExportError(f"torch cannot write the preprocessing as a graph: {error}") from error
    assert program is not None
    return program.model_proto


def _joined(front: Any, network: Any, back: Any, names: Sequence[str], final: Sequence[str]) -> Any:
    """Three graphs as one: each with a prefix of its own, and what passes between them handed on by ``Identity``.

    Args:
        front, network, back: the graphs.
        names: of the network's outputs.
        final: of the outputs of all.
    """
    from onnx import compose, helper

    parts = [
        compose.add_prefix(part, prefix)
        for part, prefix in zip((front, network, back), ("place/", "network/", "return/"), strict=True)
    ]
    read = {value.name for part in parts for value in part.graph.input}

    def links(*pairs: tuple[str, str]) -> list[Any]:
        return [
            helper.make_node("Identity", [start], [end], f"link {start} {end}")
            for start, end in pairs
            if end in read or end in final or end.startswith(RAW)
        ]

    pixels, *_ = front.graph.input
    nodes = [
        *links(("pixels", "place/pixels"), ("pixels", "return/pixels")),
        *parts[0].graph.node,
        *links(*((f"place/{name}", f"network/{name}") for name in ("images", "sizes"))),
        *links(*((f"place/{name}", f"return/{name}") for name in ImageTransforms._fields)),
        *parts[1].graph.node,
        *links(*((f"network/{name}", f"return/{name}") for name in names)),
        *parts[2].graph.node,
        *links(*((f"return/{name}{BACK}", name) for name in final)),
        *links(*((f"place/{name}", f"{RAW}{name}") for name in PLACED[:2])),
    ]
    outputs = list(back.graph.output)
    for value, name in zip(outputs, final, strict=True):
        value.name = name
    for value in list(front.graph.output)[:2]:
        value.name = f"{RAW}{value.name}"
        outputs.append(value)
    weights = [value for part in parts for value in part.graph.initializer]
    graph = helper.make_graph(nodes, "vertebra", [pixels], outputs, weights)
    return helper.make_model(graph, opset_imports=network.opset_import, ir_version=network.ir_version)
