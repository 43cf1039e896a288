"""What made a file of predictions, kept beside it, so that only the same model with the same options adds to it; without torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vertebra.errors import DataError, RunError
from vertebra.files import FileLock, os_errors_told
from vertebra.inference.io.streams import is_address

SUFFIX = ".job"
FORMAT_VERSION = 1
NAME = "model name"  # for people: the same content under another name is the same model

Job = Mapping[str, Any]
"""What predictions depend on, by the name of the option: the model's content, thresholds, tiles and so on. JSON-ready."""


def describe_job(
    name: str | Path, files: Sequence[Path], computed_in: str, options: Mapping[str, Any], **more: Any
) -> dict[str, Any]:
    """The job of a model with options.

    Args:
        name: of the model, for people.
        files: that hold the model: its content is what counts, with its branches and preprocessing, not its name.
        computed_in: precision, and the runtime where it makes a difference.
        options: of the predictor; those that change no result are left out.
        more: what else must be the same.
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
        **more,
    }


def content_hash(files: Sequence[Path]) -> str:
    """The first 12 hexadecimal digits of SHA-256 over the content of files."""
    digest = hashlib.sha256()
    for path in files:
        with os_errors_told(path), path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()[:12]


@dataclass
class ImageNames:
    """Names of images in a file. A relative name starts at one folder, whatever folder the process is in; two names are of one
    image where they lead to the same file name in the same folder.

    Args:
        folder: where relative names in the file start.
        current: where relative names that come start.
    """

    folder: Path
    current: Path
    _folders: dict[str, str] = field(default_factory=dict)

    def key_in_file(self, name: str) -> str:
        """What tells an image from others, of a name in the file."""
        return self._key(name, self.folder)

    def key(self, name: str) -> str:
        """What tells an image from others, of a name that comes."""
        return self._key(name, self.current)

    def spelled(self, name: str) -> str:
        """A name that comes, as the file has it: as it is, but for a relative one that starts at another folder."""
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


class JobFile:
    """The file ``<name>.job`` beside a file of predictions: what made them, and the folder where relative names start. It is
    locked while the predictions are written.

    Args:
        path: of the predictions.
        job: what is to be written now.

    Attributes:
        names: how images are named in the file.
        notes: what a user should know, in sentences.
        is_new: whether it was not there, or was empty.

    Raises:
        RunError: another process writes the file, or the operating system refuses.
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
            self.notes.append(f"{path}: this file system has no locks; let no second process write this file")

    def begin(self) -> None:
        """Notes the job of a file that holds nothing yet."""
        from vertebra import __version__

        content = {
            "format_version": FORMAT_VERSION,
            "vertebra": __version__,
            "folder": str(self.names.folder),
            "job": self.job,
        }
        with os_errors_told(self.path):
            self._lock.file.truncate(0)
            self._lock.file.write(json.dumps(content, indent=2).encode() + b"\n")

    def check(self) -> None:
        """Whether a file with predictions is of the same job.

        Raises:
            RunError: it is another's, or nothing tells whose it is.
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
                f"{self.predictions} was begun in {folder}, which is not here; its relative names are taken from "
                f"{self.names.current}"
            )

    def close(self) -> None:
        """Lets others write."""
        self._lock.close()

    def remove(self) -> None:
        """Removes it, when the predictions are gone."""
        if os.name == "nt":  # which removes no open file
            self.close()
        self.path.unlink(missing_ok=True)
        self.close()

    def _read(self) -> tuple[dict[str, Any], Path]:
        if self.is_new:
            raise RunError(
                f"{self.predictions} holds predictions, but nothing tells which model and options made them "
                f"({self.path.name} is missing); give a new file"
            )
        try:
            content = json.loads(self._content)
            version, known, folder = content["format_version"], dict(content["job"]), Path(content["folder"])
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{self.path}: damaged; give a new file for the predictions") from None
        if version != FORMAT_VERSION:
            raise RunError(f"{self.path}: of format {version}; this Vertebra reads format {FORMAT_VERSION}")
        return known, folder


def _text(job: Job, name: str) -> str:
    value = job.get(name)
    if name == "model":
        return f"{job.get(NAME)} ({value})"
    return value if isinstance(value, str) else json.dumps(value)
