"""Data sets of Hugging Face's ``datasets``: saved to disk, as Parquet files, or by name from the hub.

A column has the images, others their classes (``ClassLabel``, or text), ``objects`` their boxes, left, top, width and height, with
the class of each. The images stay in the Arrow files, from which each is read alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import SPLITS, Annotations
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.hf_columns import HfColumns, object_fields
from vertebra.data.readers.hf_files import HfFiles, hf_files, hf_splits, is_hf
from vertebra.data.readers.hf_images import image_paths
from vertebra.data.readers.hf_objects import add_objects
from vertebra.data.readers.tool_objects import Problems, size_of
from vertebra.errors import DataError
from vertebra.shards.arrow_rows import arrow_table


class HfReader(AnnotationReader):
    """Hugging Face data sets."""

    name = "hf"
    summary = "Hugging Face data sets (save_to_disk, Parquet with images, hf:OWNER/NAME)"
    suffixes = (".parquet", ".arrow")
    holds = frozenset({"labels", "boxes", "outlines"})

    def looks_like(self, path: Path) -> bool:
        """Whether a folder has the files of ``save_to_disk``, or Parquet files with images."""
        return is_hf(path)

    def splits(self, path: Path) -> tuple[str, ...]:
        """The splits that the data set, its files or its folders name."""
        named = set(hf_splits(path))
        return tuple(split for split in SPLITS if split in named)

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """The rows of all files of a split.

        Raises:
            DataError: a file is missing or damaged, there is no column of images, or none of the images exists.
        """
        files, problems = hf_files(path, split), Problems()
        problems.noted += files.notes
        columns = HfColumns.of(arrow_table(files.parts[0][1]).schema, files.features, dict(options.columns), path)
        problems.noted += columns.notes
        folders = [file.parent for _, file in files.parts] + ([files.root] if files.root is not None else [])
        builder = AnnotationBuilder(Path(os.path.commonpath([folder.absolute() for folder in folders])), path)
        for category in columns.categories:
            builder.category(category)
        for name, file in files.parts:
            _add_file(builder, files, columns, file, SPLITS.index(name) if name and split is None else -1, problems)
        if not len(builder):
            raise DataError(f"{path}: it has no image ({'; '.join(map(str, problems.notes()))})")
        return replace(builder.build(), notes=problems.notes(), dropped=problems.dropped)


def _add_file(
    builder: AnnotationBuilder, files: HfFiles, columns: HfColumns, file: Path, split: int, problems: Problems
) -> None:
    table = arrow_table(file)
    missing = [name for name in columns.used if name not in table.column_names]
    if missing:
        raise DataError(
            f"{file}: it has no column '{missing[0]}', which other files have; write all with the same columns"
        )
    try:
        paths = image_paths(table, columns.image, file, files.root, builder.root, problems)
        cells = {name: table[name].to_pylist() for name in columns.used if name != columns.image}
    except DataError:
        raise
    except Exception as error:  # of any kind: damaged offsets, text that is not UTF-8
        raise DataError(f"{file}: damaged ({' '.join(str(error).split())[:200]}); copy it again") from None
    kinds = object_fields(table.schema, columns.objects)
    for number, image in enumerate(paths):
        if not image:
            continue
        values: Mapping[str, object] = {name: cell[number] for name, cell in cells.items()}
        size = size_of(*(values.get(name) for name in columns.size)) if columns.size else (0, 0)
        labels = columns.labels(values, image, problems)
        annotated = columns.objects is not None or bool(labels) or columns.label is None
        row = builder.image(image, size=size, id=columns.id_of(values), split=split, annotated=annotated)
        for label in labels:
            builder.label(row, label)
        if columns.objects is not None:
            add_objects(builder, row, values[columns.objects], kinds, columns, image, problems)
