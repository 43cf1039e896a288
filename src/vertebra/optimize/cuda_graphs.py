"""A model's work on a GPU recorded once, and started as one thing from then on: a CUDA graph.

A network of small kernels spends more time on starting them, one by one from Python, than on computing. A graph starts them all
at once; the kernels, and so the answers, are the same.
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
MAX_SHAPES = 8  # shapes of batches that are recorded
MADE_OF_VALUES = (torch.tensor, torch.as_tensor, Tensor.new_tensor)
_RECORDING = Lock()  # what begins a recording waits for the GPU, which another recording does not allow
Run = Callable[[Tensor, Tensor], Mapping[str, Any]]


class Graph(NamedTuple):
    """What was recorded for one shape.

    Attributes:
        graph: starts the work.
        given: where it reads canvases and sizes.
        found: where it leaves the decoded outputs.
        unsettled: () bool, whether they are not sure to be right this time; None if they always are.
        constants: what the work reads beside the model's tensors, kept alive.
    """

    graph: torch.cuda.CUDAGraph
    given: tuple[Tensor, Tensor]
    found: Mapping[str, Any]
    unsettled: Tensor | None
    constants: list[Tensor]


class CudaGraphRunner:
    """Runs a model on a GPU by graphs. A shape that comes for the first time runs as ever; when it comes again, it is recorded.
    What cannot be recorded, because its lengths depend on values, runs as ever always. Threads take turns.

    Args:
        run: the model, from canvases and sizes to decoded outputs by branch.
        device: the GPU that it is on.

    Attributes:
        reason: why the last shape that could not be recorded could not; None if there is none.
    """

    def __init__(self, run: Run, device: torch.device) -> None:
        self._run = run
        self._device = device
        self._graphs: dict[torch.Size, Graph | None] = {}
        self._seen: set[torch.Size] = set()
        self._lock = Lock()  # a graph has one place for what it is given
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
                for place, value in zip(graph.given, (images, sizes), strict=True):
                    place.copy_(value)
                graph.graph.replay()
                if graph.unsettled is None or not bool(graph.unsettled):
                    return on_cpu(graph.found)
            return on_cpu(self._run(*_to((images, sizes), self._device)))

    def _graph_for(self, images: Tensor, sizes: Tensor) -> Graph | None:
        shape = images.shape
        if shape not in self._graphs:
            if shape not in self._seen or len(self._graphs) == MAX_SHAPES:
                self._seen.add(shape)
                return None
            places = tuple(value.to(self._device, copy=True) for value in (images, sizes))
            with _RECORDING:
                self._graphs[shape] = self._record(*places)
        return self._graphs[shape]

    def _record(self, images: Tensor, sizes: Tensor) -> Graph | None:
        """The work on these, which are the graph's own from now on, recorded; None where it cannot be."""
        graph, constants, stream = torch.cuda.CUDAGraph(), _Constants(), torch.cuda.current_stream()
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(stream)
        with torch.cuda.stream(side), constants:  # what libraries set up at their first call must not be recorded
            self._run(images, sizes)
            torch.cuda.current_blas_handle()  # type: ignore[no-untyped-call]
        stream.wait_stream(side)
        constants.again = iter(range(len(constants.kept)))
        try:
            with (
                torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"),
                constants,
                captured_nms() as flags,
            ):
                found = self._run(images, sizes)
                unsettled = torch.stack(flags).any() if flags else None
            constants.require_all()
        except RuntimeError as error:
            self.reason = str(_first(error))
            LOGGER.warning("batches of %s run without a CUDA graph: %s", tuple(images.shape), self.reason)
            torch.cuda.set_stream(stream)
            torch.cuda.synchronize()
            return None
        return Graph(graph, (images, sizes), found, unsettled, constants.kept)


class _Constants(TorchFunctionMode):
    """Keeps the tensors that code makes of plain values, and gives copies of them in their order when it runs again: making them
    waits for the GPU, which cannot be recorded.

    Attributes:
        kept: of the first run.
        made_of: what each was made of.
        again: the places of those that the next run gets; None in the first run.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: list[Tensor] = []
        self.made_of: list[str] = []
        self.again: Iterator[int] | None = None

    def require_all(self) -> None:
        """Raises RuntimeError: the second run did not take all of them."""
        if self.again is not None and next(self.again, None) is not None:
            raise RuntimeError(DIFFERS)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        data = (*args[1:], kwargs) if func is Tensor.new_tensor else (args, kwargs)
        if func not in MADE_OF_VALUES or any(isinstance(value, Tensor) for value in tree.tree_leaves(data)):
            return func(*args, **kwargs)
        made_of = f"{func} {data}"
        if self.again is not None:
            place = next(self.again, None)
            if place is None or self.made_of[place] != made_of:
                raise RuntimeError(DIFFERS)
            return self.kept[place].clone()
        value = func(*args, **kwargs)
        self.kept.append(value)
        self.made_of.append(made_of)
        return value


def _first(error: BaseException) -> BaseException:
    """What went wrong first: ending a recording that failed fails too."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _to(values: Any, device: torch.device) -> Any:
    return tree.tree_map_only(Tensor, lambda value: value.to(device), values)


def on_cpu(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Copies in memory that the GPU writes to by itself; waited for once."""

    def copied(value: Tensor) -> Tensor:
        return torch.empty(value.shape, dtype=value.dtype, pin_memory=True).copy_(value, non_blocking=True)

    found: Mapping[str, Any] = tree.tree_map_only(Tensor, copied, values)
    torch.cuda.current_stream().synchronize()
    return found
