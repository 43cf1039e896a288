"""Readers of data sets, one module for each format.

Another package registers a reader by an entry point of the group ``vertebra.readers``: its name is the format's name, its
value a `vertebra.data.readers.base.Reader`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType

from vertebra.data.readers.base import Reader
from vertebra.data.readers.coco import CocoReader
from vertebra.data.readers.coco_panoptic import CocoPanopticReader
from vertebra.data.readers.createml import CreateMlReader
from vertebra.data.readers.cvat import CvatReader
from vertebra.data.readers.deeplabcut import DlcReader
from vertebra.data.readers.dota import DotaReader
from vertebra.data.readers.hf import HfReader
from vertebra.data.readers.image_folder import ImageFolderReader
from vertebra.data.readers.label_studio import LabelStudioReader
from vertebra.data.readers.labelme import LabelMeReader
from vertebra.data.readers.landmarks import LandmarkReader
from vertebra.data.readers.mask_folder import MaskFolderReader
from vertebra.data.readers.supervisely import SuperviselyReader
from vertebra.data.readers.table import TableReader
from vertebra.data.readers.tar_shards import TarShardReader
from vertebra.data.readers.via import ViaReader
from vertebra.data.readers.voc import VocReader
from vertebra.data.readers.yolo import YoloReader
from vertebra.errors import ConfigError

# in the order of detection: a folder with images and masks also passes for class folders
READERS: tuple[Reader, ...] = (
    TarShardReader(),
    HfReader(),
    SuperviselyReader(),
    CvatReader(),
    LabelStudioReader(),
    LabelMeReader(),
    ViaReader(),
    CreateMlReader(),
    VocReader(),
    CocoReader(),
    CocoPanopticReader(),
    DlcReader(),
    DotaReader(),
    YoloReader(),
    MaskFolderReader(),
    LandmarkReader(),
    TableReader(),
    ImageFolderReader(),
)
ENTRY_POINTS = "vertebra.readers"


@cache
def all_readers() -> Mapping[str, Reader]:
    """All readers by name, in the order of detection: those of installed packages first, since their formats may also pass for
    class folders of images. Entry points are read once.

    Raises:
        ConfigError: an entry point does not load a `Reader` of its name.
    """
    installed: dict[str, Reader] = {}
    for point in entry_points(group=ENTRY_POINTS):
        reader = point.load()
        if not isinstance(reader, Reader) or reader.name != point.name:
            raise ConfigError(
                f"the entry point '{point.name} = {point.value}' of group {ENTRY_POINTS} must be a "
                f"vertebra.data.readers.base.Reader with name '{point.name}'"
            )
        installed[reader.name] = reader
    built_in = {reader.name: reader for reader in READERS}
    return MappingProxyType(
        {**{name: reader for name, reader in installed.items() if name not in built_in}, **built_in}
    )


__all__ = ["READERS", "Reader", "all_readers"]
