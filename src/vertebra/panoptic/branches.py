"""The branches of a model whose predictions are fused into panoptic ones; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from vertebra.errors import ConfigError, UnknownName
from vertebra.panoptic.labels import PanopticLabels
from vertebra.panoptic.panoptic_fpn import FusionRule, fuse
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.segment.labels import SegmentLabels

if TYPE_CHECKING:
    from vertebra.panoptic.types import PanopticPrediction
    from vertebra.tasks.prediction import Prediction


class PanopticBranches(NamedTuple):
    """The names of a branch of instances and of one that segments pixels, and the classes of both."""

    instances: str
    segment: str
    labels: PanopticLabels


def panoptic_branches(
    specs: Mapping[str, LabelSpec], instances: str | None = None, segment: str | None = None
) -> PanopticBranches:
    """The branches to fuse.

    Args:
        specs: the labels of all branches, by name.
        instances, segment: names of branches, if there are several of a kind.

    Raises:
        ConfigError: a named branch does not exist, several branches fit and none is named, or the classes of pixels may overlap.
    """
    things, pixels = _chosen(specs, InstanceLabels, instances), _chosen(specs, SegmentLabels, segment)
    return PanopticBranches(things, pixels, PanopticLabels.of(specs[things], specs[pixels]))  # type: ignore[arg-type]


def has_panoptic_branches(specs: Mapping[str, LabelSpec]) -> bool:
    """Whether there are one branch of instances and one of exclusive classes of pixels."""
    try:
        panoptic_branches(specs)
    except ConfigError:
        return False
    return True


def fused(
    predictions: Mapping[str, Prediction], instances: str | None, segment: str | None, rule: FusionRule
) -> PanopticPrediction:
    """The panoptic prediction of an image, from those of its branches.

    Raises:
        ConfigError: as of `panoptic_branches`.
    """
    branches = panoptic_branches({name: each.spec for name, each in predictions.items()}, instances, segment)
    return fuse(predictions[branches.instances], predictions[branches.segment], rule)  # type: ignore[arg-type]


def _chosen(specs: Mapping[str, LabelSpec], kind: type[LabelSpec], name: str | None) -> str:
    suitable = [branch for branch, labels in specs.items() if isinstance(labels, kind)]
    task = "instances" if kind is InstanceLabels else "segment"
    if not suitable:
        raise ConfigError(
            "panoptic segmentation fuses a branch of task 'instances' and one of task 'segment'; there is none of "
            f"'{task}' (branches: {', '.join(specs)})"
        )
    if name is not None and name not in suitable:
        raise UnknownName(f"branch of task '{task}'", name, suitable)
    if name is None and len(suitable) > 1:
        raise ConfigError(
            f"several branches of task '{task}' ({', '.join(suitable)}); choose one: "
            f"result.fuse_panoptic({task}='{suitable[0]}')"
        )
    return name or suitable[0]
