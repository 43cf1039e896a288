"""The contract of a decoder: three verbs, each with one meaning in training and in evaluation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from torch import Tensor, nn

from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.losses.loss_term import LossTerm
from vertebra.tasks.base import LabelSpec

OutputsT = TypeVar("OutputsT")
"""A decoder's own NamedTuple of raw outputs: tensors, or NamedTuples of tensors."""

TargetsT = TypeVar("TargetsT")
"""The task's NamedTuple of targets (tasks/<task>/targets.py)."""

DecodedT = TypeVar("DecodedT", bound=tuple[Tensor, ...])
"""The task's NamedTuple of decoded outputs (tasks/<task>/targets.py)."""

Outputs: TypeAlias = Any
"""Raw outputs where branches of several tasks meet."""

Decoded: TypeAlias = tuple[Tensor, ...]
"""Decoded outputs where branches of several tasks meet."""


class Decoder(nn.Module, ABC, Generic[OutputsT, TargetsT, DecodedT]):
    """Turns features into the outputs of one task.

    A decoder is built from the specification of the features that come in, the labels of its task and its own
    keyword-only options. It only assembles: losses, matching, anchors and box coding are functions of their own packages.
    A subclass states the types of its outputs, targets and decoded outputs: ``Decoder[MyOutputs, DetectTargets, DetectDecoded]``.

    A decoder that reads another branch's boxes (``boxes_from: boxes``) says so by ``needs = "boxes"``; one that works with and
    without them has the option ``on_boxes: bool = False``, which the builder sets where the branch has ``boxes_from``. `forward`
    is then given these boxes as ``proposals``, (N, R) padded with a count, in the branch's own class ids. `loss` is given
    none: its targets hold the true boxes, which it jitters in training mode, and takes as they are otherwise. What
    `decode` must know of the boxes stands in the outputs. Evaluation runs the whole model, so that metrics are those of
    the boxes that the other branch found.

    Attributes:
        task: name of the task that this decoder serves.
        terms: the names of all loss terms that `loss` gives, always the same ones.
        paper: the paper or specification that it follows.
        selects: whether raw outputs stand in the order of scores that are found inside, so that rounding may order them otherwise.
        needs: "boxes" for a decoder that, as built, reads another branch's boxes; None otherwise.
        neck_defaults: what a neck of its own branch is given where the user has said nothing of it.
        in_levels: indices of the levels that this decoder, as built, reads; None for all.
        uses_embedding: whether this decoder, as built, reads `Features.embedding`.
        uses_maps: whether this decoder, as built, reads `Features.maps`.
        postprocess: the options of decoding, a dataclass, which may be changed on a trained model; None without any.
    """

    task: ClassVar[str]
    terms: ClassVar[tuple[str, ...]]
    paper: ClassVar[str] = ""
    neck_defaults: ClassVar[Mapping[str, Any]] = {}
    selects: ClassVar[bool] = False
    needs: str | None = None
    in_levels: tuple[int, ...] | None = None
    uses_embedding: bool = False
    uses_maps: bool = True
    postprocess: object | None = None

    def __init__(self, in_spec: FeatureSpec, labels: LabelSpec) -> None:
        super().__init__()
        self.in_spec = in_spec
        self.labels = labels

    @abstractmethod
    def forward(self, features: Features, proposals: Proposals | None = None) -> OutputsT:
        """Raw outputs: a NamedTuple of tensors (logits and the like)."""

    @abstractmethod
    def loss(self, features: Features, targets: TargetsT) -> tuple[dict[str, LossTerm], OutputsT]:
        """Named loss terms as sums with counts, and the outputs, so that validation does not run a head twice."""

    @abstractmethod
    def decode(self, outputs: OutputsT, frame: Frame) -> DecodedT:
        """Activation and post-processing: a NamedTuple of tensors of fixed shape; exportable."""


AnyDecoder: TypeAlias = Decoder[Any, Any, Any]
"""A decoder of whichever task."""
