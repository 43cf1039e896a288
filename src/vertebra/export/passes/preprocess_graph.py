"""Preprocessing inside the exported graph: images of any size to canvases, and canvas coordinates back to image coordinates.

Resizing as in `vertebra.preprocess` is written as two matrix products, because the ``Resize`` operators of runtimes differ, and
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
from vertebra.export.suppress_output import suppress_output
from vertebra.export.torch_export import RAW
from vertebra.model_info import ModelInfo
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.image_transform_torch import ImageTransforms, to_canvas
from vertebra.preprocess.images import apply
from vertebra.runtimes.model_files.metadata import CLASS_MAP
from vertebra.tasks import get_task

BACK = "_in_image"  # suffix of the names of outputs inside the graph
TOLERANCE = 1e-4
GRAY_LEVELS = 1
MAX_CLASS_DIFFERENCE = 0.001  # fraction of pixels whose class may differ by rounding
CANVAS_OUTPUTS = ("images", "sizes", *ImageTransforms._fields)


class ToCanvas(nn.Module):
    """Puts images of one size onto the canvas, as `vertebra.preprocess.images.apply` does.

    Args:
        resize_spec: its canvas must be the same for all images.
        channels: of the images.

    Raises:
        ExportError: each image has its own canvas size.
    """

    fill: Tensor

    def __init__(self, resize_spec: ResizeSpec, channels: int) -> None:
        super().__init__()
        if resize_spec.mode == "shortest_edge":
            raise ExportError(
                "each image has its own canvas size (shortest_edge): export with input='canvas' (--input canvas)"
            )
        self.resize_spec = resize_spec
        fill = torch.tensor(resize_spec.fill_for(channels), dtype=torch.float32)
        self.register_buffer("fill", fill[:, None, None], persistent=False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """
        Args:
            pixels: (N, H, W, C) uint8, images of one size.

        Returns:
            Canvases (N, C, height, width) uint8, their valid pixels (N, 2) int64, and the fields of `ImageTransforms`.
        """
        canvases, sizes, transforms = to_canvas(pixels, self.resize_spec, self.fill)
        return canvases, sizes, *transforms


class ToImage(nn.Module):
    """Transforms the decoded outputs of the branches to the images' own pixels.

    Args:
        info: of the model.
        fields: the types of the decoded outputs by branch.
        class_maps: whether segmentation branches output the class of each pixel instead of probabilities.

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
            pixels: (N, H, W, C); only the shape is used.
            original, resized, offset: of `ImageTransforms`.
            values: the fields of all branches in their order.
        """
        size = (pixels.shape[1], pixels.shape[2])
        fields, outputs = iter(values), []
        for name, kind in self.fields.items():
            decoded, geometry = kind(*(next(fields) for _ in kind._fields)), ImageTransforms(original, resized, offset)
            if name in self.maps:
                outputs.append(self.maps[name](decoded, geometry, size))
            else:
                outputs += list(self.tasks[name].to_image(decoded, geometry, size))
        return tuple(value.clone() for value in outputs)  # an output must not be an input


def add_preprocessing(
    network: Path,
    target: Path,
    info: ModelInfo,
    decoded: Mapping[str, Any],
    names: Sequence[str],
    *,
    class_maps: bool = False,
) -> tuple[ToCanvas, ToImage]:
    """Wraps an ONNX file that takes canvases into one that takes ``pixels`` (N, H, W, C) uint8, with outputs in their pixels.

    The canvases and sizes inside are additional outputs, for comparison.

    Args:
        network: the file of the network, with a fixed canvas.
        target: the file to write.
        info: of the model.
        decoded: the decoded outputs by branch, on an example of two canvases.
        names: of the network's outputs.
        class_maps: see `ToImage`.

    Returns:
        The modules before and after the network.

    Raises:
        ExportError: each image has its own canvas size, or torch cannot make the graph.
    """
    import onnx

    canvas_module = ToCanvas(info.resize_spec, info.channels)
    image_module = ToImage(info, {name: type(fields) for name, fields in decoded.items()}, class_maps)
    height, width = info.resize_spec.size
    pixels = torch.zeros(2, height + 3, width + 5, info.channels, dtype=torch.uint8)
    with torch.no_grad():
        canvas_outputs = canvas_module(pixels)
    values = [value for fields in decoded.values() for value in fields]
    free: Any = torch.export.Dim.DYNAMIC
    shape = {0: free, 1: free, 2: free}
    front = _graph(canvas_module, (pixels,), (shape,), ["pixels"], CANVAS_OUTPUTS)
    inputs = ["pixels", *ImageTransforms._fields, *names]
    back_shapes: tuple[Any, ...] = (shape, None, None, None, tuple({0: free} for _ in values))
    back = _graph(
        image_module,
        (pixels, *canvas_outputs[2:], *values),
        back_shapes,
        inputs,
        [name + BACK for name in image_module.names],
    )
    onnx.save(_joined(front, onnx.load(str(network)), back, names, image_module.names), str(target))
    return canvas_module, image_module


def check_pixels(
    wrapper: tuple[ToCanvas, ToImage], network: Run, wrapped: Run, images: Iterable[np.ndarray]
) -> dict[str, float]:
    """Compares a file that takes pixels with the file of its network, which has been compared with the model.

    Args:
        wrapper: the modules before and after the network.
        network: from canvases and sizes to all outputs.
        wrapped: from pixels to all outputs, followed by the canvases and sizes inside.
        images: (H, W, C) uint8.

    Returns:
        The largest difference by image size, relative to the largest value of an output.

    Raises:
        ExportError: the position or the pixels of an image on the canvas differ from Pillow's, or an output differs.
    """
    canvas_module, image_module = wrapper
    differences = {}
    for image in images:
        name = f"pixels {image.shape[0]}x{image.shape[1]}"
        pixels = np.stack([image, image[::-1]])
        try:
            *outputs, canvases, sizes = wrapped(pixels)
        except Exception as error:  # each runtime raises its own types
            raise ExportError(f"the exported file does not run on {name}: {first_line(error)}") from error
        for source, canvas, size in zip(pixels, canvases, sizes.tolist(), strict=True):
            _check_canvas(canvas_module.resize_spec, source, canvas.transpose(1, 2, 0), size, name)
        transforms = ImageTransforms.of(canvas_module.resize_spec, *(torch.tensor([side]) for side in image.shape[:2]))
        values = map(torch.from_numpy, network(canvases, sizes))
        expected = [value.numpy() for value in image_module(torch.from_numpy(pixels), *transforms, *values)]
        differences[name] = max(
            output_difference(f"{output} ({name})", expected_value, value)
            for output, expected_value, value in zip(image_module.names, expected, outputs, strict=True)
        )
    return differences


def output_difference(name: str, expected: np.ndarray, output: np.ndarray) -> float:
    """The difference of one output: relative to the largest value; for class maps, the fraction of pixels with another class, since
    rounding decides between two classes of nearly equal probability.

    Raises:
        ExportError: it exceeds the limit, or the shape or type differs.
    """
    if not name.partition(" ")[0].endswith(f"/{CLASS_MAP}"):
        return difference(name, expected, output, TOLERANCE)
    if expected.shape != output.shape or expected.dtype != output.dtype:
        raise ExportError(
            f"'{name}' is {output.dtype} {output.shape} in the exported file and {expected.dtype} {expected.shape} in PyTorch"
        )
    share = float((expected != output).mean())
    if share > MAX_CLASS_DIFFERENCE:
        raise ExportError(f"'{name}' of the exported file has another class than PyTorch for {share:.1%} of its pixels")
    return share


def _check_canvas(resize_spec: ResizeSpec, image: np.ndarray, canvas: np.ndarray, size: list[int], name: str) -> None:
    worst = np.abs(canvas.astype(int) - apply(resize_spec, image)).max()
    expected_size = resize_spec.transform(image.shape[0], image.shape[1]).size
    if worst > GRAY_LEVELS or tuple(size) != expected_size:
        raise ExportError(
            f"{name}: the graph puts the image on {size} of the canvas, {worst} gray levels off; "
            f"{expected_size} and 1 would be right"
        )


def color_blocks(resize_spec: ResizeSpec, channels: int) -> list[np.ndarray]:
    """Images smaller, larger, taller and wider than the canvas, with blocks of a few colors.

    Returns:
        (H, W, C) uint8.
    """
    generator = np.random.default_rng(0)
    height, width = resize_spec.size
    sizes = [(height // 2 + 5, width // 2 + 3), (2 * height + 7, width + 11), (height, width), (height - 5, 3 * width)]
    images = []
    for rows, columns in sizes:
        colors = generator.integers(0, 256, (3, 4, channels), dtype=np.uint8)
        images.append(colors[np.arange(rows) * 3 // rows][:, np.arange(columns) * 4 // columns])
    return images


def _graph(module: nn.Module, example: tuple[Tensor, ...], shapes: Any, inputs: Sequence[str], outputs: Any) -> Any:
    with suppress_output():
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
    """Joins three graphs: each gets a name prefix, and ``Identity`` nodes connect them.

    Args:
        front, network, back: the graphs.
        names: of the network's outputs.
        final: the names of the final outputs.
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
        *links(*((f"place/{name}", f"{RAW}{name}") for name in CANVAS_OUTPUTS[:2])),
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
