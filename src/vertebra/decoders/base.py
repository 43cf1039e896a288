"""The contract of a decoder: `forward`, `loss` and `decode`, which do the same in training and in evaluation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

from torch import Tensor, nn

from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.losses.loss_term import LossTerm
from vertebra.tasks.base import LabelSpec

OutputsT = TypeVar("OutputsT")
"""A decoder's NamedTuple of raw outputs: tensors, or NamedTuples of tensors."""

TargetsT = TypeVar("TargetsT")
"""The task's NamedTuple of targets (tasks/<task>/targets.py)."""

DecodedT = TypeVar("DecodedT", bound=tuple[Tensor, ...])
"""The task's NamedTuple of decoded outputs (tasks/<task>/targets.py)."""

Outputs: TypeAlias = Any
"""Raw outputs of a branch of any task."""

Decoded: TypeAlias = tuple[Tensor, ...]
"""Decoded outputs of a branch of any task."""


ScopeUse: TypeAlias = Literal["none", "some", "full"]
"""How a decoder's loss can do without annotations of some classes, see `Decoder.scope_use`."""


class Decoder(nn.Module, ABC, Generic[OutputsT, TargetsT, DecodedT]):
    """Turns features into the outputs of one task.

    A decoder is built from the specification of its input features, the labels of its task and its keyword-only options. It
    only assembles: losses, matching, anchors and box coding are functions in packages of their own. A subclass declares the
    types of its outputs, targets and decoded outputs: ``Decoder[MyOutputs, DetectTargets, DetectDecoded]``.

    A decoder that reads another branch's boxes (``boxes_from: boxes``) sets ``needs = "boxes"``; one that works with and
    without them has the option ``on_boxes: bool = False``, which the builder sets if the branch has ``boxes_from``. `forward`
    then gets these boxes as ``proposals``, (N, R) padded with a count, in the class ids of this branch. `loss` gets none: it
    reads the ground-truth boxes of its targets, jittered in training mode and unchanged otherwise. The outputs hold whatever
    `decode` needs of the boxes. Evaluation runs the whole model, so that metrics are those of the other branch's predicted
    boxes.

    Attributes:
        task: name of the task that this decoder serves.
        terms: the names of all loss terms that `loss` returns, the same ones in each call.
        paper: the paper or specification that it implements.
        selects: whether raw outputs are ordered by scores inside the model, so that rounding errors can change their order.
        needs: "boxes" if this decoder, as built, reads another branch's boxes; None otherwise.
        needs_many_images: whether it learns slowly, so that few training images do not suffice without trained weights.
        scope_use: whether its loss leaves out the classes that are not annotated in an image, see `vertebra.losses.scope`: "full";
            "some" if it also needs images in which all classes are annotated; "none" if the rest counts as background.
        neck_defaults: default options of a neck in the same branch, if the user sets none.
        in_levels: indices of the levels that this decoder, as built, reads; None for all.
        uses_embedding: whether this decoder, as built, reads `Features.embedding`.
        uses_maps: whether this decoder, as built, reads `Features.maps`.
        postprocess: the options of decoding, a dataclass, which can be changed on a trained model; None if there are none.
        temperature: rescales the scores after `decode`, see `vertebra.tasks.temperature`; 1 leaves them as they are. Fitted by
            ``vertebra calibrate --temperature``; the score threshold of ``postprocess`` applies before.
    """

    task: ClassVar[str]
    terms: ClassVar[tuple[str, ...]]
    paper: ClassVar[str] = ""
    neck_defaults: ClassVar[Mapping[str, Any]] = {}
    selects: ClassVar[bool] = False
    needs_many_images: ClassVar[bool] = False
    scope_use: ClassVar[ScopeUse] = "none"
    needs: str | None = None
    in_levels: tuple[int, ...] | None = None
    uses_embedding: bool = False
    uses_maps: bool = True
    postprocess: object | None = None
    temperature: float = 1.0

    def __init__(self, in_spec: FeatureSpec, labels: LabelSpec) -> None:
        super().__init__()
        self.in_spec = in_spec
        self.labels = labels

    @abstractmethod
    def forward(self, features: Features, proposals: Proposals | None = None) -> OutputsT:
        """Raw outputs: a NamedTuple of tensors (logits and the like)."""

    @abstractmethod
    def loss(self, features: Features, targets: TargetsT) -> tuple[dict[str, LossTerm], OutputsT]:
        """Named loss terms as sums with counts, and the outputs, so that validation runs a head only once."""

    @abstractmethod
    def decode(self, outputs: OutputsT, frame: Frame) -> DecodedT:
        """Activation and post-processing: a NamedTuple of tensors of fixed shape; exportable."""

    def distillation(self, outputs: OutputsT, teacher: AnyDecoder, features: Features) -> LossTerm:
        """How far this decoder's outputs are from those of a teacher's decoder for the same images: 0, with a gradient of 0,
        where they agree. A decoder without it cannot be trained from a teacher.

        Args:
            outputs: of this decoder.
            teacher: the decoder of the same branch of the teacher, in evaluation mode, with frozen weights.
            features: the teacher's features of the same images, as its decoder reads them.

        Raises:
            ConfigError: the outputs of the two cannot be compared.
        """
        raise ConfigError(f"the decoder {type(self).__name__} cannot be trained from a teacher; use another decoder")


AnyDecoder: TypeAlias = Decoder[Any, Any, Any]
"""A decoder of any task."""
