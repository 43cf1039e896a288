"""Where the trials of tuning run: in this process, in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import queue
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vertebra.cpus import usable_cpus
from vertebra.errors import RunError, VertebraError
from vertebra.files import os_errors_as_run_errors
from vertebra.tuning.trial_run import Report, TrialJob, TrialOutcome, run_trial

Runner = Callable[[TrialJob, Report], TrialOutcome]
"""Runs a trial, and hands the scores of its evaluations to the report."""

POLL_SECONDS = 0.2


@contextmanager
def process_runner(jobs: int) -> Iterator[Runner]:
    """Runs each trial in a process of this machine, with its part of the CPUs and one of the GPUs; its messages go to the file
    ``NUMBER.log`` beside the run folder. At the end, trials that still run are stopped.

    Args:
        jobs: trials at a time.
    """
    slots: queue.SimpleQueue[int] = queue.SimpleQueue()
    running: set[Any] = set()
    for slot in range(jobs):
        slots.put(slot)

    def run(job: TrialJob, report: Report) -> TrialOutcome:
        slot = slots.get()
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=_run_in_process, args=(there, job, slot, jobs), daemon=False)
        process.start()
        running.add(process)
        there.close()
        try:
            return _serve(here, report)
        except EOFError:
            process.join()
            log = f"; see {log_path(job)}" if Path(log_path(job)).exists() else ""
            raise RunError(f"trial {job.number}: its process ended with exit code {process.exitcode}{log}") from None
        finally:
            here.close()  # ends a process that still waits for an answer
            process.join()
            running.discard(process)
            slots.put(slot)

    try:
        yield run
    finally:
        for process in list(running):
            process.terminate()


def _serve(connection: Any, report: Report) -> TrialOutcome:
    """Answers the reports of a trial in another process until it ends.

    Raises:
        EOFError: the process ended without an outcome.
        VertebraError: the trial failed.
    """
    while True:
        kind, content = connection.recv()
        if kind == "score":
            connection.send(report(*content))
        elif kind == "error":
            raise content
        else:
            return TrialOutcome(*content)


def _run_in_process(connection: Any, job: TrialJob, slot: int, jobs: int) -> None:
    """The main function of a trial's process."""
    take_share(slot, jobs)
    log_to_file(job)

    def report(epoch: int, score: float) -> bool:
        connection.send(("score", (epoch, score)))
        return bool(connection.recv())

    try:
        connection.send(("outcome", tuple(run_trial(job, report))))
    except VertebraError as error:
        connection.send(("error", error))


def take_share(slot: int, jobs: int) -> None:
    """Gives this process its part of the machine's CPUs, and one of its GPUs.

    Args:
        slot: of the process, from 0.
        jobs: number of such processes.
    """
    import torch

    gpus = torch.cuda.device_count()
    if gpus and "CUDA_VISIBLE_DEVICES" not in os.environ:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(slot % gpus)
    each = max(1, usable_cpus() // jobs)
    if hasattr(os, "sched_setaffinity"):
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cpus[(slot * each + offset) % len(cpus)] for offset in range(each)})
    torch.set_num_threads(each)


def log_path(job: TrialJob) -> str:
    """The file with the messages of a trial in another process."""
    return str(job.folder.with_suffix(".log"))


def log_to_file(job: TrialJob) -> None:
    """Redirects standard error of this process to the log of a trial."""
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    with os_errors_as_run_errors(log_path(job)):
        descriptor = os.open(log_path(job), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    sys.stderr.flush()
    os.dup2(descriptor, 2)
    os.close(descriptor)


class _Board:
    """An actor of Ray through which a trial and the tuning process exchange scores and answers."""

    def __init__(self) -> None:
        self.scores: list[tuple[int, float]] = []
        self.answers: list[bool] = []

    def report(self, epoch: int, score: float) -> int:
        """Adds a score, and returns its number."""
        self.scores.append((epoch, score))
        return len(self.scores) - 1

    def answer(self, number: int) -> bool | None:
        """The answer to a score; None before it is there."""
        return self.answers[number] if number < len(self.answers) else None

    def unanswered(self) -> list[tuple[int, float]]:
        """The scores without an answer."""
        return self.scores[len(self.answers) :]

    def add_answer(self, stop: bool) -> None:
        """Answers the first score without an answer."""
        self.answers.append(stop)


def _run_on_ray(board: Any, job: TrialJob) -> tuple[Any, ...]:
    """A task of Ray: runs a trial."""
    import ray

    log_to_file(job)

    def report(epoch: int, score: float) -> bool:
        number = ray.get(board.report.remote(epoch, score))
        while True:
            answer = ray.get(board.answer.remote(number))
            if answer is not None:
                return bool(answer)
            time.sleep(POLL_SECONDS)

    try:
        return ("outcome", tuple(run_trial(job, report)))
    except VertebraError as error:
        return ("error", error)


@contextmanager
def ray_runner(address: str | None, jobs: int | None) -> Iterator[tuple[Runner, int]]:
    """Runs each trial as a task on a Ray cluster, whose machines have the tune folder and the data under the same paths.

    Args:
        address: of the cluster; see `vertebra.inference.ray.cluster.connected`.
        jobs: trials at a time; None for as many as fit, with at most 4 CPUs each, and one GPU if there are any.

    Yields:
        The runner, and the number of trials at a time.

    Raises:
        ConfigError: Ray is not installed, or there is no such cluster.
    """
    from vertebra.inference.ray.cluster import connected, plan_workers

    with connected(address) as ray:
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        workers = plan_workers(machines, workers=jobs, threads=None, gpu=None)
        task = ray.remote(_run_on_ray).options(num_cpus=workers.cpus, num_gpus=workers.gpus, max_retries=0)

        def run(job: TrialJob, report: Report) -> TrialOutcome:
            board = ray.remote(_Board).options(num_cpus=0).remote()
            pending = task.remote(board, job)
            try:
                while not ray.wait([pending], timeout=POLL_SECONDS)[0]:
                    for epoch, score in ray.get(board.unanswered.remote()):
                        ray.get(board.add_answer.remote(report(epoch, score)))
                kind, content = ray.get(pending)
            except ray.exceptions.RayError as error:
                raise RunError(f"trial {job.number}: its Ray task ended ({type(error).__name__})") from error
            finally:
                ray.cancel(pending, force=True)
                ray.kill(board)
            if kind == "error":
                raise content
            return TrialOutcome(*content)

        yield run, workers.workers
