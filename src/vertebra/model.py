"""The model: one backbone and its branches."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.utils import _pytree as tree

from vertebra.errors import ConfigError
from vertebra.features import Features, Frame, HasBoxes, Proposals
from vertebra.layers.input_range import check_pixel_range
from vertebra.losses.loss_term import LossTerm
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.tasks import get_task
from vertebra.tasks.base import LabelSpec

if TYPE_CHECKING:
    from vertebra.backbones.base import Backbone
    from vertebra.decoders.base import AnyDecoder, Decoded, DecodedT, Decoder, Outputs, OutputsT


def check_model(function: str, model: Any) -> None:
    """Checks that an argument is a model.

    Args:
        function: whose argument it is, for the message.
        model: what the caller gave.

    Raises:
        ConfigError: it is something else, such as the path of a model.
    """
    if not isinstance(model, VisionModel):
        cure = f"; load it first: vertebra.load({str(model)!r})" if isinstance(model, str | os.PathLike) else ""
        raise ConfigError(f"{function} takes a model of vertebra, got {type(model).__name__}{cure}")


class Branch(nn.Module):
    """The parts of one task behind the backbone: an optional neck, an optional encoder, and a decoder.

    Args:
        weight: factor of this branch's loss in the sum over branches.
        boxes_from: the branch whose boxes this one reads, or None.
    """

    def __init__(
        self,
        decoder: AnyDecoder,
        *,
        neck: nn.Module | None = None,
        encoder: nn.Module | None = None,
        weight: float = 1.0,
        boxes_from: str | None = None,
    ) -> None:
        super().__init__()
        self.neck = neck
        self.encoder = encoder
        self.decoder = decoder
        self.weight = weight
        self.boxes_from = boxes_from

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.decoder.task

    @property
    def labels(self) -> LabelSpec:
        """The label specification."""
        return self.decoder.labels

    def prepare(self, features: Features) -> Features:
        """The input of the decoder: the features after neck and encoder."""
        for part in (self.neck, self.encoder):
            if part is not None:
                features = part(features)
        return features


def decode_float32(decoder: Decoder[OutputsT, Any, DecodedT], outputs: OutputsT, frame: Frame) -> DecodedT:
    """Decodes in float32, for outputs of any precision, and rescales scores by the decoder's temperature."""
    outputs = tree.tree_map(_float32, outputs)
    device = frame.sizes.device.type
    if not torch.is_autocast_enabled(device):
        return _tempered(decoder, decoder.decode(outputs, frame))
    with torch.autocast(device, enabled=False):
        return _tempered(decoder, decoder.decode(outputs, frame))


def _tempered(decoder: Decoder[Any, Any, DecodedT], decoded: DecodedT) -> DecodedT:
    """Decoded outputs with rescaled scores; the same ones at a temperature of 1."""
    if decoder.temperature == 1:
        return decoded
    temper = get_task(decoder.task).temper
    assert temper is not None, "a temperature is set for tasks that have one"
    tempered: DecodedT = temper(decoded, decoder.labels, decoder.temperature)
    return tempered


def _float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


class VisionModel(nn.Module):
    """One backbone and one or more branches; a single-task model is the case of one branch.

    A pure module: `vertebra.Model` adds training, evaluation, prediction, export and saving.

    Args:
        backbone: maps a batch of canvases to `Features`.
        branches: by name; a branch comes after the one whose boxes it reads.
        resize_spec: how images are resized to the canvas.
        shared: neck and encoder before the fork.
        config: the model's config, as plain values; None if it was built from objects.

    Attributes:
        origin: ``source`` and ``license`` of a model from another library; else empty. Model files have it, too.
        provenance: the record of its training from its file; else empty.
        thresholds: by branch, minimum scores by class that prediction uses unless the user gives one. Model files and exported
            files have them, too. See `vertebra.weights.stored_calibration.store_thresholds`.
        promises: by branch, what its thresholds keep; see `vertebra.calibration`.
    """

    def __init__(
        self,
        backbone: Backbone,
        branches: Mapping[str, Branch],
        resize_spec: ResizeSpec,
        *,
        shared: list[nn.Module] | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.shared = nn.ModuleList(shared or [])
        self.branches = nn.ModuleDict(branches)
        self.resize_spec = resize_spec
        self.config = config
        self.origin: dict[str, str] = {}
        self.provenance: dict[str, Any] = {}
        self.thresholds: dict[str, dict[str, float]] = {}
        self.promises: dict[str, dict[str, Any]] = {}

    def branch(self, name: str) -> Branch:
        """A branch by name."""
        branch = self.branches[name]
        assert isinstance(branch, Branch)
        return branch

    def unused_parameters(self) -> set[str]:
        """Names of the backbone's parameters that no output of this model depends on, such as those of its classifier. They are
        frozen unless another model on the same backbone needs them."""
        return {f"backbone.{name}" for name in self.backbone.unused_parameters()}

    def features(self, images: Tensor, sizes: Tensor | None = None) -> Features:
        """Runs the backbone and the shared parts.

        Args:
            images: (N, C, H, W) canvases, uint8 or float in 0..255.
            sizes: (N, 2) int64 (height, width) of each image's valid pixels; None if canvases are full.

        Raises:
            DataError: images are floats in 0..1, or normalized; not checked while a graph is traced.
        """
        check_pixel_range(images)
        features: Features = self.backbone(images, sizes)
        for part in self.shared:
            features = part(features)
        return features

    def forward(self, images: Tensor, sizes: Tensor | None = None) -> dict[str, Decoded]:
        """From canvases to decoded outputs of all branches: the graph of evaluation, prediction, export and serving."""
        return self.run(images, sizes)[1]

    def run(self, images: Tensor, sizes: Tensor | None = None) -> tuple[dict[str, Outputs], dict[str, Decoded]]:
        """The decoders' raw outputs and the result of `forward`, both by branch."""
        features = self.features(images, sizes)
        outputs: dict[str, Outputs] = {}
        decoded: dict[str, Decoded] = {}
        for name in self.branches:
            branch = self.branch(name)
            outputs[name] = branch.decoder(branch.prepare(features), self._proposals(branch, decoded))
            decoded[name] = decode_float32(branch.decoder, outputs[name], features.frame)
        return outputs, decoded

    def _proposals(self, branch: Branch, decoded: Mapping[str, Decoded]) -> Proposals | None:
        """The boxes that a branch reads, with its class ids; for attributes with those of the branch that has the boxes."""
        if branch.boxes_from is None:
            return None
        boxes = cast("HasBoxes", decoded[branch.boxes_from])  # the builder has checked it
        proposals = Proposals(boxes.boxes, boxes.scores, boxes.labels, boxes.count)
        source_classes, classes = self.branch(branch.boxes_from).labels.classes, branch.labels.classes
        if source_classes == classes or get_task(branch.task).of_boxes:
            return proposals
        return proposals.of_classes([classes.index(name) if name in classes else -1 for name in source_classes])

    def loss(
        self, images: Tensor, sizes: Tensor, targets: Mapping[str, tuple[Tensor, Any]]
    ) -> tuple[dict[str, dict[str, LossTerm]], dict[str, Outputs]]:
        """Loss terms of the labeled branches; a branch runs on its labeled images only, and not at all without any.

        Args:
            images: (N, C, H, W) canvases.
            sizes: (N, 2) valid pixels of each image.
            targets: by branch, (rows, targets): indices of the images labeled for it, (n,) int64, and the task's targets.

        Returns:
            The terms and the decoder's outputs (for the labeled images), both by branch.
        """
        features = self.features(images, sizes)
        terms: dict[str, dict[str, LossTerm]] = {}
        outputs: dict[str, Outputs] = {}
        for name, (rows, ground_truth) in targets.items():
            branch = self.branch(name)
            branch_features = features if len(rows) == len(images) else features.rows(rows)
            terms[name], outputs[name] = branch.decoder.loss(branch.prepare(branch_features), ground_truth)
        return terms, outputs
