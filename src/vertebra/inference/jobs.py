"""Manifests of prediction files: the model and options are stored beside a file, so that only the same job resumes it; without
torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vertebra.errors import DataError, RunError
from vertebra.files import FileLock, os_errors_as_run_errors
from vertebra.inference.io.streams import is_address
from vertebra.model_info import ModelInfo
from vertebra.tasks.thresholds import OBJECT_THRESHOLD

SUFFIX = ".job"
FORMAT_VERSION = 1
NAME = "model name"  # not compared: the same content under another name is the same model

Job = Mapping[str, Any]
"""The settings that predictions depend on, by name: the model's content, thresholds, tiles and so on. JSON-ready."""


def describe_job(
    name: str | Path, files: Sequence[Path], computed_in: str, options: Mapping[str, Any], **settings: Any
) -> dict[str, Any]:
    """The job of a model with options.

    Args:
        name: of the model, for messages.
        files: of the model; they are compared by content, not by name.
        computed_in: the precision, and the runtime if it affects the results.
        options: of the predictor; those that do not affect the results are left out.
        settings: further settings that must be the same.
    """
    tiled = options.get("tile") is not None
    return {
        NAME: str(name),
        "model": content_hash(files),
        "computed in": computed_in,
        "threshold": options["threshold"],
        "tile": options.get("tile"),
        "overlap": options.get("overlap") if tiled else None,
        "flip": bool(options.get("flip", False)),
        "scales": list(options.get("scales", (1.0,))),
        **({"track": options["track"]} if options.get("track") else {}),
        **settings,
    }


def job_threshold(info: ModelInfo, given: float | None) -> float | str:
    """The setting ``threshold`` of a job: the user's minimum score, or where the model's are. Stored ones are part of the model's
    content, which the job has.

    Args:
        info: of the model.
        given: the user's; None for none.
    """
    if given is not None:
        return given
    return "the model's, by class" if info.thresholds else OBJECT_THRESHOLD


def content_hash(files: Sequence[Path]) -> str:
    """The first 12 hexadecimal digits of SHA-256 over the content of files."""
    digest = hashlib.sha256()
    for path in files:
        with os_errors_as_run_errors(path), path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()[:12]


@dataclass
class ImageNames:
    """Names of images in a file. Relative names are relative to one folder, independent of the current folder; two names are the
    same image if they resolve to the same file name in the same folder.

    Args:
        folder: the base of relative names in the file.
        current: the base of new relative names.
    """

    folder: Path
    current: Path
    _folders: dict[str, str] = field(default_factory=dict)

    def key_in_file(self, name: str) -> str:
        """The unique key of a name in the file."""
        return self._key(name, self.folder)

    def key(self, name: str) -> str:
        """The unique key of a new name."""
        return self._key(name, self.current)

    def spelled(self, name: str) -> str:
        """A new name as it is written to the file: unchanged, except for a relative one with another base folder."""
        if is_address(name) or Path(name).is_absolute() or self.folder == self.current:
            return name
        try:
            return os.path.relpath(self.current / name, self.folder)
        except ValueError:  # another drive of Windows
            return str(self.current / name)

    def _key(self, name: str, start: Path) -> str:
        if is_address(name):
            return name
        folder, last = os.path.split(os.path.join(start, name))  # noqa: PTH118  # a million times: strings are faster
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.normcase(os.path.join(self._folders[folder], last))  # noqa: PTH118


class JobManifest:
    """The file ``<name>.job`` beside a file of predictions: their job, and the base folder of relative names. It is locked while
    predictions are written.

    Args:
        path: of the predictions.
        job: the current job.

    Attributes:
        names: the names of images in the file.
        notes: messages for the user.
        is_new: whether the file was missing or empty.

    Raises:
        RunError: another process writes the file, or it cannot be opened.
    """

    def __init__(self, path: Path, job: Job) -> None:
        self.predictions, self.path, self.job = path, path.with_name(path.name + SUFFIX), dict(job)
        self.names = ImageNames(Path.cwd(), Path.cwd())
        self.notes: list[str] = []
        self._lock = FileLock(self.path, path)
        self._lock.file.seek(0)
        self._content = self._lock.file.read()
        self.is_new = not self._content
        if not self._lock.locks:
            self.notes.append(
                f"{path}: this file system has no locks; make sure that no second process writes this file"
            )

    def begin(self) -> None:
        """Writes the job of an empty file."""
        from vertebra import __version__

        content = {
            "format_version": FORMAT_VERSION,
            "vertebra": __version__,
            "folder": str(self.names.folder),
            "job": self.job,
        }
        with os_errors_as_run_errors(self.path):
            self._lock.file.truncate(0)
            self._lock.file.write(json.dumps(content, indent=2).encode() + b"\n")

    def check(self) -> None:
        """Checks that existing predictions are of the same job.

        Raises:
            RunError: they are of another job, or their job is unknown.
        """
        known, folder = self._read()
        differing = [
            f"{name} is {_text(known, name)} there and {_text(self.job, name)} now"
            for name in dict.fromkeys([*known, *self.job])
            if known.get(name) != self.job.get(name) and name != NAME
        ]
        if differing:
            raise RunError(
                f"{self.predictions} was made with other options, so it is not continued: {'; '.join(differing)}. "
                "Give the same options, or a new file"
            )
        if folder.is_dir():
            self.names = ImageNames(folder, self.names.current)
        elif folder != self.names.current:
            self.notes.append(
                f"{self.predictions} was started in {folder}, which does not exist here; relative names are resolved from "
                f"{self.names.current}"
            )

    def close(self) -> None:
        """Releases the lock."""
        self._lock.close()

    def remove(self) -> None:
        """Removes the manifest, after the predictions were removed."""
        if os.name == "nt":  # Windows cannot remove open files
            self.close()
        self.path.unlink(missing_ok=True)
        self.close()

    def _read(self) -> tuple[dict[str, Any], Path]:
        if self.is_new:
            raise RunError(
                f"{self.predictions} has predictions of an unknown model and options ({self.path.name} is missing); give a new file"
            )
        try:
            content = json.loads(self._content)
            version, known, folder = content["format_version"], dict(content["job"]), Path(content["folder"])
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{self.path}: damaged; give a new file for the predictions") from None
        if version != FORMAT_VERSION:
            raise RunError(f"{self.path}: has format {version}; this Vertebra reads format {FORMAT_VERSION}")
        return known, folder


def _text(job: Job, name: str) -> str:
    value = job.get(name)
    if name == "model":
        return f"{job.get(NAME)} ({value})"
    return value if isinstance(value, str) else json.dumps(value)
