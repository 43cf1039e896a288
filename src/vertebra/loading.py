"""Loads any model that Vertebra wrote. Exported files need no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from vertebra.errors import ConfigError
from vertebra.inference.exported_model import ExportedModel
from vertebra.keywords import check_path, strict_keywords
from vertebra.runtimes import find_format, is_exported
from vertebra.runtimes.model_files.summary import describe_file, summary_text

if TYPE_CHECKING:
    from vertebra.api import Model


class RuntimeModel(ExportedModel):
    """An exported file in its runtime, with the methods predict, evaluate and summary.

    Args: as of `vertebra.inference.exported_model.ExportedModel`.
    """

    @strict_keywords
    def evaluate(
        self,
        data: str | os.PathLike[str] | None = None,
        *,
        split: str = "val",
        batch_size: int = 8,
        branches: Sequence[str] | None = None,
        ignore_index: int | None = None,
        rename_classes: Mapping[str, str] | None = None,
    ) -> dict[str, float]:
        """Metrics on labeled images, with keys ``branch/metric``. Reading the data needs torch.

        Args: as of `vertebra.Model.evaluate`; without ``data``, the data of the run whose folder the file is in.

        Raises:
            ConfigError: the file is in no run folder and there is no ``data``; an unknown branch or class.
            DataError: there is no such split, or the data cannot be used.
        """
        from vertebra.export.evaluate import evaluate_file

        return evaluate_file(
            self,
            data=data,
            split=split,
            batch_size=batch_size,
            branches=branches,
            ignore_index=ignore_index,
            rename_classes=rename_classes,
        )

    def write_report(
        self, data: str | os.PathLike[str] | None = None, *, out: str | os.PathLike[str] | None = None, **options: Any
    ) -> Path:
        """Evaluates the file on labeled images, and writes an HTML page about it. Reading the data needs torch.

        Args: as of `vertebra.Model.write_report`; without ``data``, the data of the run whose folder the file is in.

        Raises:
            ConfigError: the file is in no run folder and there is no ``data``; an unknown option, branch or class.
        """
        from vertebra.export.report import write_report

        return write_report(self, data=data, out=out, **options)

    def summary(self) -> str:
        """The content of the file, as text."""
        return summary_text(describe_file(self.path))

    def fit(self, data: Any = None, **options: Any) -> NoReturn:
        """Raises `ConfigError`: an exported file cannot be trained."""
        self._refuse("cannot be trained")

    def export(self, path: Any = None, **options: Any) -> NoReturn:
        """Raises `ConfigError`: an exported file cannot be exported again."""
        self._refuse("cannot be exported again")

    def save(self, path: Any = None, **options: Any) -> NoReturn:
        """Raises `ConfigError`: an exported file is no model file."""
        self._refuse("has no weights to save as a model file; copy the file itself, or")

    def _refuse(self, what: str) -> NoReturn:
        known = find_format(self.path)
        kind = known.title if known is not None else self.path.suffix
        separator = " " if what.endswith("or") else "; "
        raise ConfigError(
            f"{self.path.name} is a file for {kind}, which {what}{separator}load the run folder or the .safetensors file that it "
            "was made from"
        )

    def __repr__(self) -> str:
        branches = "; ".join(
            f"{name}: {task}, {len(labels.classes)} classes" for name, (task, labels) in self.info.branches.items()
        )
        return f"{type(self).__name__}({str(self.path)!r}: {branches})"


@strict_keywords
def load(
    source: str | os.PathLike[str],
    device: Any = "cpu",
    *,
    verify: bool = True,
    parts: Mapping[str, Any] | None = None,
) -> Model | RuntimeModel:
    """A model from a run folder (its best weights), a model file, or an exported file, which needs no torch.

    Args:
        source: a run folder, or a file that Vertebra wrote: ``.safetensors``, ``.onnx``, OpenVINO's ``.xml``, ``.pt2`` or
            ``.pte``.
        device: the device of the model; for an exported file "cpu" or "cuda".
        verify: checks a model file against the checksums in its header; False also reads a damaged file. Exported files are
            always checked.
        parts: the objects that the model was built from, as for `create_model`: ``{"neck": MyNeck(...)}``;
            of a model with several branches ``{"boxes.neck": ...}``. Their weights are replaced by those of the file.

    Returns:
        A `vertebra.Model` in evaluation mode, or a `vertebra.RuntimeModel` of an exported file.

    Raises:
        ConfigError: ``source`` is no path, ``verify`` or ``parts`` do not fit the file, or a part that was given as an object is
            missing.
        WeightsError: the file is missing, damaged, or not one of Vertebra's.
        RunError: the folder is not a run, or has no weights yet.
    """
    path = check_path("source", source)
    if not is_exported(path):
        from vertebra.api import load_model

        return load_model(path, device, verify=verify, parts=parts)
    if not verify:
        raise ConfigError(f"{path}: an exported file is always verified; leave out verify=False")
    if parts:
        raise ConfigError(f"{path}: an exported file holds all of its parts; leave out 'parts'")
    return RuntimeModel(path, device=str(device))
