"""Converts the network of a float32 ONNX file to float16; inputs, outputs and decoding do not change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vertebra.export.passes.network_nodes import network_nodes

FLOAT, FLOAT16 = 1, 10  # of onnx.TensorProto
HALF = "_float16"  # suffix of the names of float16 values
LARGEST = float(np.finfo(np.float16).max)


def to_float16(source: Path, target: Path) -> None:
    """Stores weights and maps of the network in float16, with casts at its inputs and outputs.

    Converters of the whole graph also convert box coordinates and indices, and float16 cannot represent 2049.

    Args:
        source: a file of float32.
        target: the file to write.
    """
    import onnx

    proto = onnx.load(str(source))
    graph = proto.graph
    network = {node.name for node in network_nodes(graph)}
    weights = {value.name: value for value in graph.initializer if value.data_type == FLOAT}
    inside = {name for node in graph.node if node.name in network for name in node.output}
    read_outside = {name for node in graph.node if node.name not in network for name in node.input}
    read_outside |= {value.name for value in graph.output}
    nodes: list[Any] = []
    cast: set[str] = set()
    for node in graph.node:
        if node.name not in network:
            nodes.append(node)
            continue
        for index, name in enumerate(node.input):
            if not name or (node.op_type == "Resize" and index > 0):
                continue
            if name not in inside and name not in cast:
                cast.add(name)
                if name in weights:
                    graph.initializer.append(_to_float16(weights[name]))
                else:
                    nodes.append(onnx.helper.make_node("Cast", [name], [name + HALF], name + "_enters", to=FLOAT16))
            node.input[index] = name + HALF
        outputs = list(node.output)
        for index, name in enumerate(outputs):
            node.output[index] = name + HALF
        nodes.append(node)
        nodes += [
            onnx.helper.make_node("Cast", [name + HALF], [name], name + "_leaves", to=FLOAT)
            for name in outputs
            if name in read_outside
        ]
    _replace(graph.node, nodes)
    del graph.value_info[:]
    used = {name for node in nodes for name in node.input}
    _replace(graph.initializer, [value for value in graph.initializer if value.name in used])
    onnx.save(proto, str(target))


def _to_float16(weight: Any) -> Any:
    """A weight in float16, renamed; values beyond its range are clipped."""
    from onnx import numpy_helper

    values = numpy_helper.to_array(weight).clip(-LARGEST, LARGEST).astype(np.float16)
    return numpy_helper.from_array(values, weight.name + HALF)


def _replace(field: Any, values: list[Any]) -> None:
    """Replaces all values of a repeated field."""
    copies = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(copies)
