"""Writers of data sets, one module for each format.

Another package registers a writer by an entry point of the group ``vertebra.writers``: its name is the format's name, its value a
`vertebra.data.writers.base.Writer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType

from vertebra.data.writers.base import Writer
from vertebra.data.writers.coco import CocoWriter
from vertebra.data.writers.coco_panoptic import CocoPanopticWriter
from vertebra.data.writers.dota import DotaWriter
from vertebra.data.writers.image_folder import ImageFolderWriter
from vertebra.data.writers.labelme import LabelMeWriter
from vertebra.data.writers.masks import MasksWriter
from vertebra.data.writers.table import CsvWriter
from vertebra.data.writers.tar import TarWriter
from vertebra.data.writers.voc import VocWriter
from vertebra.data.writers.yolo import YoloWriter
from vertebra.errors import ConfigError

WRITERS: tuple[Writer, ...] = (
    CocoWriter(),
    YoloWriter(),
    VocWriter(),
    MasksWriter(),
    CsvWriter(),
    TarWriter(),
    LabelMeWriter(),
    DotaWriter(),
    ImageFolderWriter(),
    CocoPanopticWriter(),
)
ENTRY_POINTS = "vertebra.writers"


@cache
def all_writers() -> Mapping[str, Writer]:
    """All writers by name, those of installed packages last. Entry points are read once.

    Raises:
        ConfigError: an entry point does not load a `Writer` of its name.
    """
    writers = {writer.name: writer for writer in WRITERS}
    for point in entry_points(group=ENTRY_POINTS):
        writer = point.load()
        if not isinstance(writer, Writer) or writer.name != point.name:
            raise ConfigError(
                f"the entry point '{point.name} = {point.value}' of group {ENTRY_POINTS} must be a "
                f"vertebra.data.writers.base.Writer with name '{point.name}'"
            )
        writers.setdefault(writer.name, writer)
    return MappingProxyType(writers)


__all__ = ["WRITERS", "Writer", "all_writers"]
