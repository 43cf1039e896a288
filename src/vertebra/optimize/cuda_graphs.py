"""Runs a model on a GPU by CUDA graphs, captured once for each input shape.

A network of small kernels spends more time on launching them one by one from Python than on computing. A CUDA graph launches them
all at once; the kernels and the results are the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as tree

from vertebra.geometry.nms import captured_nms

LOGGER = logging.getLogger(__name__)
DIFFERS = "a second run made other tensors of plain values than the first"
MAX_SHAPES = 8  # input shapes that are captured
MADE_OF_VALUES = (torch.tensor, torch.as_tensor, Tensor.new_tensor)
_RECORDING = Lock()  # starting a capture synchronizes the GPU, which is not allowed during another capture
Run = Callable[[Tensor, Tensor], Mapping[str, Any]]


class Graph(NamedTuple):
    """The graph captured for one input shape.

    Attributes:
        graph: the CUDA graph.
        inputs: static buffers of the canvases and sizes.
        outputs: static buffers of the decoded outputs.
        inexact: () bool, whether the outputs of this replay may be wrong; None if they never are.
        constants: tensors that the graph reads besides the model's, kept alive.
    """

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, Tensor]
    outputs: Mapping[str, Any]
    inexact: Tensor | None
    constants: list[Tensor]


class CudaGraphRunner:
    """Runs a model on a GPU by CUDA graphs. The first batch of a shape runs eagerly; the second one is captured. A model that
    cannot be captured, because shapes depend on values, always runs eagerly. Threads take turns.

    Args:
        run: the model, from canvases and sizes to decoded outputs by branch.
        device: the model's GPU.

    Attributes:
        reason: why the last failed capture failed; None if none failed.
    """

    def __init__(self, run: Run, device: torch.device) -> None:
        self._run = run
        self._device = device
        self._graphs: dict[torch.Size, Graph | None] = {}
        self._seen: set[torch.Size] = set()
        self._lock = Lock()  # a graph has one input buffer
        self.reason: str | None = None

    def __call__(self, images: Tensor, sizes: Tensor) -> Mapping[str, Any]:
        """Decoded outputs, on the CPU.

        Args:
            images: (N, C, H, W) uint8 canvases.
            sizes: (N, 2) int64.
        """
        with self._lock, torch.cuda.device(self._device):
            graph = self._graph_for(images, sizes)
            if graph is not None:
                for buffer, value in zip(graph.inputs, (images, sizes), strict=True):
                    buffer.copy_(value)
                graph.graph.replay()
                if graph.inexact is None or not bool(graph.inexact):
                    return on_cpu(graph.outputs)
            return on_cpu(self._run(*_to((images, sizes), self._device)))

    def _graph_for(self, images: Tensor, sizes: Tensor) -> Graph | None:
        shape = images.shape
        if shape not in self._graphs:
            if shape not in self._seen or len(self._graphs) == MAX_SHAPES:
                self._seen.add(shape)
                return None
            inputs = tuple(value.to(self._device, copy=True) for value in (images, sizes))
            with _RECORDING:
                self._graphs[shape] = self._record(*inputs)
        return self._graphs[shape]

    def _record(self, images: Tensor, sizes: Tensor) -> Graph | None:
        """Captures a run on these tensors, which become the graph's input buffers; None where it cannot be captured."""
        graph, constants, stream = torch.cuda.CUDAGraph(), _Constants(), torch.cuda.current_stream()
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(stream)
        with torch.cuda.stream(side), constants:  # the lazy initialization of libraries must not be captured
            self._run(images, sizes)
            torch.cuda.current_blas_handle()  # type: ignore[no-untyped-call]
        stream.wait_stream(side)
        constants.replay = iter(range(len(constants.tensors)))
        try:
            with (
                torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"),
                constants,
                captured_nms() as flags,
            ):
                outputs = self._run(images, sizes)
                inexact = torch.stack(flags).any() if flags else None
            constants.require_all()
        except RuntimeError as error:
            self.reason = str(_root_cause(error))
            LOGGER.warning("batches of %s run without a CUDA graph: %s", tuple(images.shape), self.reason)
            torch.cuda.set_stream(stream)
            torch.cuda.synchronize()
            return None
        return Graph(graph, (images, sizes), outputs, inexact, constants.tensors)


class _Constants(TorchFunctionMode):
    """Keeps the tensors that code makes from plain values, and returns copies of them, in order, in the second run: creating them
    synchronizes the GPU, which cannot be captured.

    Attributes:
        tensors: of the first run.
        sources: the function and the values that each tensor was made from.
        replay: the indices of the tensors for the second run; None in the first run.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tensors: list[Tensor] = []
        self.sources: list[str] = []
        self.replay: Iterator[int] | None = None

    def require_all(self) -> None:
        """Raises RuntimeError if the second run did not use all tensors of the first one."""
        if self.replay is not None and next(self.replay, None) is not None:
            raise RuntimeError(DIFFERS)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        data = (*args[1:], kwargs) if func is Tensor.new_tensor else (args, kwargs)
        if func not in MADE_OF_VALUES or any(isinstance(value, Tensor) for value in tree.tree_leaves(data)):
            return func(*args, **kwargs)
        source = f"{func} {data}"
        if self.replay is not None:
            index = next(self.replay, None)
            if index is None or self.sources[index] != source:
                raise RuntimeError(DIFFERS)
            return self.tensors[index].clone()
        value = func(*args, **kwargs)
        self.tensors.append(value)
        self.sources.append(source)
        return value


def _root_cause(error: BaseException) -> BaseException:
    """The first error of a chain: ending a failed capture raises another error."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _to(values: Any, device: torch.device) -> Any:
    return tree.tree_map_only(Tensor, lambda value: value.to(device), values)


def on_cpu(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Copies in pinned memory, with one synchronization for all of them."""

    def copied(value: Tensor) -> Tensor:
        return torch.empty(value.shape, dtype=value.dtype, pin_memory=True).copy_(value, non_blocking=True)

    copies: Mapping[str, Any] = tree.tree_map_only(Tensor, copied, values)
    torch.cuda.current_stream().synchronize()
    return copies
