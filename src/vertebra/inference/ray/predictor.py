"""Prediction on many machines: the workers of a Ray cluster share the images of a job, with Ray Data.

The model's files are sent to the workers through Ray's object store; the images must be readable on each machine. One actor, the
feed, runs the Ray data set on the cluster and returns results in the order of the images, in small batches. This also works
through ``ray://``, where Ray Data itself cannot be read.
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

from vertebra.annotations.notes import Note
from vertebra.errors import ConfigError, DataError, RunError, VertebraError, WeightsError, missing_package
from vertebra.inference.io.inputs import list_images
from vertebra.inference.model_source import ModelSource
from vertebra.inference.pipeline import Pipeline
from vertebra.inference.ray.cluster import WorkerPlan, connected, plan_workers
from vertebra.inference.results import Result, Skipped
from vertebra.inference.tta import tta_views
from vertebra.model_info import ModelInfo

BATCHES_PER_CHUNK = 8  # batches that a worker gets at a time, so that it can prefetch
MAX_RETRIES = 3  # of a chunk whose worker died


WorkerOutput = Result | Skipped | VertebraError


class RayPredictor:
    """Predicts like a `Pipeline`, on the workers of a Ray cluster.

    A worker that dies is restarted, and its images are tried again, at most three times.

    Args:
        source: the model. Each worker opens it once.
        address: of the cluster; see `vertebra.inference.ray.cluster.connected`.
        workers: the number of workers; None for as many as possible, one per GPU if there are GPUs.
        options: of the predictor; see `Pipeline`.

    Attributes:
        skipped: unreadable files, each with the reason, if they are skipped.
        notes: always empty; see `Pipeline`.
    """

    def __init__(
        self, source: ModelSource, *, address: str | None = None, workers: int | None = None, **options: Any
    ) -> None:
        self.source, self.address, self.workers, self.options = source, address, workers, options
        self.skipped: list[Skipped] = []
        self.notes: list[Note] = []

    @property
    def info(self) -> ModelInfo:
        """The model's preprocessing, branches and classes; reads its file."""
        return self.source.info

    def stream(self, images: Iterable[Any]) -> Generator[Result, None, None]:
        """Yields predictions in the order of the images, with a bounded number of them in memory.

        Args:
            images: files, at paths where the workers can read them.

        Raises:
            ConfigError: Ray is not installed, there is no such cluster, or an image is not a file.
            RunError: a worker failed, or died repeatedly.
            VertebraError: an error of a worker about the model or an image.
        """
        names = [_name(image) for image in (list_images(images) if isinstance(images, str | Path) else images)]
        if not names:
            return
        if self.options.get("flip"):  # checked here, before workers start
            tta_views(self.info, True, self.options.get("scales", (1.0,)))
        content = _read(self.source)
        with connected(self.address) as ray:
            machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            source = self.source
            plan = plan_workers(machines, workers=self.workers, threads=source.threads, gpu=source.gpu)
            threads = plan.cpus if source.takes_threads else None
            job = Job(replace(source, threads=threads), self.options, Path.cwd())
            chunks = _chunks(names, self.options.get("batch_size", 8), plan.workers)
            feed = None
            try:
                # in a list the reference is passed on; as an argument of its own, Ray would resolve it
                feed = ray.remote(_ResultFeed).options(num_cpus=0).remote(chunks, job, [ray.put(content)], plan)
                yield from self._results(ray, feed)
            except (ray.exceptions.RayError, ModuleNotFoundError) as error:
                raise RunError(f"the work on the Ray cluster failed: {_last_line(error)}") from error
            finally:
                if feed is not None:
                    ray.kill(feed)

    def _results(self, ray: Any, feed: Any) -> Iterator[Result]:
        """Requests the next results while the current ones are used."""
        pending = feed.next.remote()
        while pickled := ray.get(pending):
            pending = feed.next.remote()
            for pickled_output in pickled:
                output: WorkerOutput = pickle.loads(pickled_output)
                if isinstance(output, VertebraError):
                    raise output
                if isinstance(output, Skipped):
                    self.skipped.append(output)
                else:
                    yield output


@dataclass(frozen=True)
class Job:
    """The task of a worker.

    Attributes:
        source: the model, on the calling machine.
        options: of the predictor.
        folder: the base of relative image names.
    """

    source: ModelSource
    options: dict[str, Any]
    folder: Path


class _Worker:
    """A worker process on the cluster: opens the model once, and predicts on one chunk of files after the other.

    Args:
        job: the task.
        content: a reference to the content of the model's files by name, in a list.
    """

    def __init__(self, job: Job, content: list[Any]) -> None:
        self._job, self._content = job, content
        self._predictor: Pipeline | None = None

    def __call__(self, table: Any) -> Iterator[Any]:
        """Yields a table with one pickled output for each file of a chunk."""
        import pyarrow

        (chunk,) = table.column("files").to_pylist()
        for output in self._outputs(pickle.loads(chunk)):
            yield pyarrow.table({"answer": pyarrow.array([pickle.dumps(output)], pyarrow.large_binary())})

    def _outputs(self, names: list[str]) -> Iterator[WorkerOutput]:
        """Results, skipped files and user errors. Errors are returned, because Ray would wrap raised ones, and try again."""
        try:
            self._change_folder(names)
            if self._predictor is None:
                self._predictor = self._open()
            self._predictor.skipped.clear()
            yield from self._predictor.stream(map(Path, names))
            yield from self._predictor.skipped
        except VertebraError as error:
            yield error
        except ModuleNotFoundError as error:
            missing = missing_package(error)
            if missing is None:
                raise
            yield missing

    def _change_folder(self, names: list[str]) -> None:
        if all(map(os.path.isabs, names)):
            return
        try:
            os.chdir(self._job.folder)
        except OSError:
            raise DataError(
                f"a worker on machine {platform.node()} has no folder {self._job.folder}, to which image names are relative; "
                "images must have the same path on each machine"
            ) from None

    def _open(self) -> Pipeline:
        """Opens the model from a temporary copy of its files."""
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


class _ResultFeed:
    """An actor on the cluster that runs the Ray data set and returns its results.

    Args:
        chunks: pickled lists of files, in order.
        job: the task of the workers.
        content: a reference to the content of the model's files by name, in a list.
        plan: the number of workers and their resources.
    """

    def __init__(self, chunks: list[bytes], job: Job, content: list[Any], plan: WorkerPlan) -> None:
        import ray.data

        logging.getLogger("ray.data").setLevel(logging.ERROR)
        dataset = ray.data.from_items([{"files": chunk} for chunk in chunks], override_num_blocks=len(chunks))
        dataset.context.execution_options.preserve_order = True
        dataset.context.enable_progress_bars = False
        outputs = dataset.map_batches(
            _Worker,
            fn_constructor_args=(job, content),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=plan.workers),
            num_cpus=plan.cpus,
            num_gpus=plan.gpus or None,
            ray_remote_args_fn=_retries,
        )
        self._batches: Iterator[Any] = iter(
            outputs.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)
        )

    def next(self) -> list[bytes]:
        """The next pickled outputs; an empty list at the end."""
        for table in self._batches:
            if len(table):
                outputs: list[bytes] = table.column("answer").to_pylist()
                return outputs
        return []


def _retries() -> dict[str, int]:
    """Limits retries: Ray Data would retry forever, even if an image kills each worker that reads it."""
    return {"max_task_retries": MAX_RETRIES}


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
    """Splits names into pickled chunks of whole batches. They are pickled because names need not be valid Unicode."""
    batches = -(-len(names) // (batch_size * workers))
    size = batch_size * min(batches, BATCHES_PER_CHUNK)
    return [pickle.dumps(names[start : start + size]) for start in range(0, len(names), size)]


def _last_line(error: BaseException) -> str:
    """The last line of a Ray error, after its traceback: the error itself."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    if "No module named" in last:
        return f"its machines need the same Vertebra as this one, with the same extras ({last})"
    return last
