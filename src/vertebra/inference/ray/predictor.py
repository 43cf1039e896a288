"""Prediction on many machines: the workers of a Ray cluster share the images of a job, by Ray Data.

The model's file goes to the workers through Ray's object store, so only the images must be where each worker can read them.
One actor, the feed, runs the data set on the cluster and hands results on in the images' order, some at a time: so it goes
by ``ray://`` too, through which Ray Data itself cannot be read.
"""

from __future__ import annotations

import logging
import os
import pickle
import platform
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vertebra.errors import ConfigError, DataError, RunError, VertebraError, WeightsError, missing_package
from vertebra.inference.model_source import ModelSource
from vertebra.inference.pipeline import Pipeline
from vertebra.inference.ray.cluster import Share, connected, share
from vertebra.inference.results import Result, Skipped
from vertebra.inference.tta import tta_views
from vertebra.model_info import ModelInfo

BATCHES = 8  # that a worker is given at a time, so that it can read ahead
RETRIES = 3  # of images whose worker died


Answer = Result | Skipped | VertebraError


class RayPredictor:
    """Predicts like a `Pipeline`, on the workers of a Ray cluster.

    A worker that dies is started again, and its images are given out again, three times at most.

    Args:
        source: the model. Each worker opens it once.
        address: of the cluster; see `vertebra.inference.ray.cluster.connected`.
        workers: how many; None for as many as fit, one a GPU where there are GPUs.
        options: of any predictor; see `Pipeline`.

    Attributes:
        skipped: unreadable files, each with the reason, where they are left out.
    """

    def __init__(
        self, source: ModelSource, *, address: str | None = None, workers: int | None = None, **options: Any
    ) -> None:
        self.source, self.address, self.workers, self.options = source, address, workers, options
        self.skipped: list[Skipped] = []

    @property
    def info(self) -> ModelInfo:
        """What must be known of the model to use it; its file is read for it."""
        return self.source.info

    def stream(self, images: Iterable[Any]) -> Generator[Result, None, None]:
        """Predictions one after the other, in the order of the images, a bounded number of them in memory.

        Args:
            images: files, at places where the workers can read them.

        Raises:
            ConfigError: Ray is not installed, there is no such cluster, or an image is no file.
            RunError: a worker failed, or died again and again.
            VertebraError: what a worker says of the model or an image.
        """
        names = [_name(image) for image in images]
        if not names:
            return
        if self.options.get("flip"):  # refused here, where it may be, rather than by a worker
            tta_views(self.info, True, self.options.get("scales", (1.0,)))
        content = _read(self.source)
        with connected(self.address) as ray:
            machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            source = self.source
            shares = share(machines, workers=self.workers, threads=source.threads, gpu=source.gpu)
            threads = shares.cpus if source.takes_threads else None
            job = Job(replace(source, threads=threads), self.options, Path.cwd())
            chunks = _chunks(names, self.options.get("batch_size", 8), shares.workers)
            feed = None
            try:
                # in a list, a reference goes on as it is; alone, Ray would send what it stands for
                feed = ray.remote(_Feed).options(num_cpus=0).remote(chunks, job, [ray.put(content)], shares)
                yield from self._results(ray, feed)
            except (ray.exceptions.RayError, ModuleNotFoundError) as error:
                raise RunError(f"the work on the Ray cluster failed: {_reason(error)}") from error
            finally:
                if feed is not None:
                    ray.kill(feed)

    def _results(self, ray: Any, feed: Any) -> Iterator[Result]:
        """Asks for the next results while some are used."""
        coming = feed.next.remote()
        while pickled := ray.get(coming):
            coming = feed.next.remote()
            for one in pickled:
                answer: Answer = pickle.loads(one)
                if isinstance(answer, VertebraError):
                    raise answer
                if isinstance(answer, Skipped):
                    self.skipped.append(answer)
                else:
                    yield answer


@dataclass(frozen=True)
class Job:
    """What a worker must know.

    Attributes:
        source: the model, as it lies on the machine that asks.
        options: of the predictor.
        folder: that the names of images start from.
    """

    source: ModelSource
    options: dict[str, Any]
    folder: Path


class _Worker:
    """In a process on the cluster: opens the model once, and answers one chunk of files after the other.

    Args:
        job: what to do.
        content: a reference to the content of the model's files by name, in a list.
    """

    def __init__(self, job: Job, content: list[Any]) -> None:
        self._job, self._content = job, content
        self._predictor: Pipeline | None = None

    def __call__(self, table: Any) -> Iterator[Any]:
        """A table of one row an answer for a table of one chunk, pickled."""
        import pyarrow

        (chunk,) = table.column("files").to_pylist()
        for answer in self._answers(pickle.loads(chunk)):
            yield pyarrow.table({"answer": pyarrow.array([pickle.dumps(answer)], pyarrow.large_binary())})

    def _answers(self, names: list[str]) -> Iterator[Answer]:
        """Errors that a user can put right are answers: Ray would wrap them in its own, and try again."""
        try:
            self._go_where_the_names_start(names)
            if self._predictor is None:
                self._predictor = self._open()
            self._predictor.skipped.clear()
            yield from self._predictor.stream(map(Path, names))
            yield from self._predictor.skipped
        except VertebraError as error:
            yield error
        except ModuleNotFoundError as error:
            told = missing_package(error)
            if told is None:
                raise
            yield told

    def _go_where_the_names_start(self, names: list[str]) -> None:
        if all(map(os.path.isabs, names)):
            return
        try:
            os.chdir(self._job.folder)
        except OSError:
            raise DataError(
                f"a worker on machine {platform.node()} has no folder {self._job.folder}, from which the names of images "
                "start; images must lie at the same place on each machine"
            ) from None

    def _open(self) -> Pipeline:
        """The model, from a copy of its files that is gone when it is open."""
        import ray

        source = self._job.source
        with TemporaryDirectory(prefix="vertebra-", ignore_cleanup_errors=True) as folder:
            for name, content in ray.get(self._content[0]).items():
                (Path(folder) / name).write_bytes(content)
            copy = Path(folder) / source.path.name
            try:
                return replace(source, path=copy).predictor(**self._job.options)
            except VertebraError as error:
                error.args = tuple(str(text).replace(str(copy), str(source.path)) for text in error.args)
                raise


class _Feed:
    """On the cluster: runs the data set, and hands on what comes out of it.

    Args:
        chunks: pickled lists of files, in their order.
        job: what workers do.
        content: a reference to the content of the model's files by name, in a list.
        shares: how many workers, and what each has.
    """

    def __init__(self, chunks: list[bytes], job: Job, content: list[Any], shares: Share) -> None:
        import ray.data

        logging.getLogger("ray.data").setLevel(logging.ERROR)
        dataset = ray.data.from_items([{"files": chunk} for chunk in chunks], override_num_blocks=len(chunks))
        dataset.context.execution_options.preserve_order = True
        dataset.context.enable_progress_bars = False
        answers = dataset.map_batches(
            _Worker,
            fn_constructor_args=(job, content),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=shares.workers),
            num_cpus=shares.cpus,
            num_gpus=shares.gpus or None,
            ray_remote_args_fn=_retries,
        )
        self._batches: Iterator[Any] = iter(
            answers.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)
        )

    def next(self) -> list[bytes]:
        """The next answers; none at the end."""
        for table in self._batches:
            if len(table):
                answers: list[bytes] = table.column("answer").to_pylist()
                return answers
        return []


def _retries() -> dict[str, int]:
    """Ray Data would try for ever, also where an image kills each worker that reads it."""
    return {"max_task_retries": RETRIES}


def _name(image: Any) -> str:
    if isinstance(image, str | Path):
        return str(image)
    raise ConfigError(f"with Ray, images are files, not {type(image).__name__}; leave out --engine ray")


def _read(source: ModelSource) -> dict[str, bytes]:
    """The content of the model's files by name."""
    try:
        return {path.name: path.read_bytes() for path in source.files}
    except OSError as error:
        raise WeightsError(f"{source.path}: cannot be read ({error.strerror})") from None


def _chunks(names: Sequence[str], batch_size: int, workers: int) -> list[bytes]:
    """Whole batches for each worker, several at a time where there are many, pickled: names need not be proper text."""
    batches = -(-len(names) // (batch_size * workers))
    size = batch_size * min(batches, BATCHES)
    return [pickle.dumps(names[start : start + size]) for start in range(0, len(names), size)]


def _reason(error: BaseException) -> str:
    """The last line of what Ray says, which a traceback stands before: the error itself."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    if "No module named" in last:
        return f"its machines must have the Vertebra that this one has, with all that it needs ({last})"
    return last
