"""timm's models as backbones: feature levels and embedding from one forward pass."""

from __future__ import annotations

import inspect
import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vertebra.backbones import dilation
from vertebra.backbones.alignment import Alignment
from vertebra.backbones.base import StagedBackbone, choose_out_indices, describe_origin, weights_from
from vertebra.backbones.catalog import alignment_of, check_name, family_of
from vertebra.backbones.pretrained import create, load_local, published_by
from vertebra.errors import ConfigError, VertebraError
from vertebra.features import FeatureSpec, Level
from vertebra.layers.option_range import check_range


class TimmBackbone(StagedBackbone):
    """A timm model as a backbone: returns feature maps at several strides, and the model's embedding, from one forward pass.

    Args:
        name: a timm model's name, with or without a tag of weights ("resnet50", "resnet50.a1_in1k").
        pretrained: true for timm's weights from its hub; a path for a local file with timm's or torchvision's parameter names;
            false for random weights.
        in_channels: channels of the images; the first convolution of pretrained weights is adapted to them.
        freeze: how many of the first stages, as timm numbers them (2 on a ResNet: stem and first stage), are frozen, with
            their BatchNorm statistics, or "all".
        output_stride: 8 or 16: dilation instead of further strides, if timm supports it.
        dilate_first: with ``output_stride``, dilates the first block of a ResNet stage like the others, as in
            segmentation-models-pytorch; by default as in timm and torchvision.
        norm_eps: eps of all BatchNorm and LayerNorm layers, for weights trained with another eps than timm's (files with
            torchvision's names need no such option).
        frozen_norm: freezes all BatchNorm layers, with their statistics.
        mean, std: normalization of images in 0..1, one number for each channel; None: timm's own.
        out_indices: indices of timm's feature maps; by default the last one at each stride from 2 on, and the last one of a
            plain vision transformer.
        final_norm: applies the final norm of a plain vision transformer to its levels.
        class_token: concatenates the class token of a plain vision transformer to each cell, as further channels.
        image_size: (height, width) of the canvas, for families that are built for one size.
        size_multiple: the canvas is padded to a multiple of this number; by default as measured for the family.
        args: further arguments of timm's own constructor.

    Raises:
        UnknownName: timm has no such model.
        ConfigError: this architecture does not support an option.
        WeightsError: the weights cannot be downloaded or read.
    """

    def __init__(
        self,
        name: str,
        *,
        pretrained: bool | str = False,
        in_channels: int = 3,
        freeze: int | Literal["all"] = 0,
        output_stride: int | None = None,
        dilate_first: bool = False,
        norm_eps: float | None = None,
        frozen_norm: bool = False,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        out_indices: list[int] | None = None,
        final_norm: bool = True,
        class_token: bool = False,
        image_size: tuple[int, int] | None = None,
        size_multiple: int | None = None,
        args: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(name, in_channels=in_channels, freeze=freeze, frozen_norm=frozen_norm)
        check_range(f"backbone '{name}'", minimum=1, maximum=4096, size_multiple=size_multiple)
        check_range(f"backbone '{name}'", minimum=0, norm_eps=norm_eps)
        architecture = check_name(name)
        alignment = _alignment(name, size_multiple)
        self.refusal = alignment.reason if alignment.kind == "refused" else None
        arguments: dict[str, Any] = {
            "num_classes": 0,
            "in_chans": in_channels,
            **dict(alignment.arguments),
            **(args or {}),
        }
        if output_stride is not None:
            arguments["output_stride"] = output_stride
        if alignment.kind == "sized" and image_size is not None:
            arguments["img_size"] = image_size
        self.body = _create(name, pretrained is True, arguments)
        if dilate_first:
            dilation.dilate_first(self.body, name)
        self.load_report = None
        if isinstance(pretrained, str):
            self.load_report = load_local(self.body, architecture, pretrained, in_channels, norm_eps)
        self.pretrained = pretrained is not False
        self.origin = describe_origin(name, pretrained, self.load_report)
        self.weights_from = weights_from(pretrained, published_by(self.body))
        self.set_norm_eps(norm_eps)
        self.final_norm, self.class_token = final_norm, class_token
        self._read_info(alignment, out_indices, image_size, size_multiple)
        config: Any = self.body.pretrained_cfg
        self.keep_normalization(mean or config["mean"], std or config["std"])
        self.compute_maps = bool(self.out_indices)

    def _read_info(
        self,
        alignment: Alignment,
        out_indices: list[int] | None,
        image_size: tuple[int, int] | None,
        multiple: int | None,
    ) -> None:
        info: Any = self.body.feature_info
        self.stages = [Level(stage["num_chs"], stage["reduction"]) for stage in getattr(info, "info", info)]
        self.out_indices = [] if self.refusal else choose_out_indices(self.stages, out_indices, self.name)
        levels = tuple(self.stages[index] for index in self.out_indices)
        if self.class_token:
            if not getattr(self.body, "num_prefix_tokens", 0):
                raise ConfigError(f"backbone '{self.name}' has no class token; remove class_token")
            levels = tuple(Level(2 * level.channels, level.stride) for level in levels)
        self.out_spec = FeatureSpec(levels, int(self.body.head_hidden_size))  # type: ignore[arg-type]
        coarsest = max(stage.stride for stage in self.stages)
        config: Any = self.body.pretrained_cfg
        native = (int(config["input_size"][1]), int(config["input_size"][2]))
        self.fixed_size = None
        if alignment.kind == "sized" and image_size is not None:
            self.fixed_size = image_size
        elif alignment.kind in ("sized", "native"):
            self.fixed_size = native
        if image_size != native:
            _check_size(self.name, alignment, self.fixed_size, image_size, coarsest)
        self.size_multiple = multiple or (1 if alignment.kind in ("any", "sized", "native", "refused") else coarsest)
        forward = inspect.signature(self.body.forward_intermediates).parameters  # type: ignore[arg-type]
        one_stride = len({stage.stride for stage in self.stages}) == 1
        # the last block of a plain transformer is normally followed by the final norm
        self._norm = {"norm": self.final_norm} if "norm" in forward and one_stride else {}
        if self.class_token:
            self._norm["return_prefix_tokens"] = True

    def run(self, images: Tensor) -> list[Tensor]:
        """The required maps, and the embedding after them if it is required."""
        body: Any = self.body
        if not self.compute_maps:
            return [body.forward_head(body.forward_features(images), pre_logits=True)]
        outputs = body.forward_intermediates(
            images,
            indices=sorted(self.out_indices),
            intermediates_only=not self.compute_embedding,
            stop_early=not self.compute_embedding,
            output_fmt="NCHW",
            **self._norm,
        )
        last, maps = outputs if self.compute_embedding else (None, outputs)
        maps = [_with_class_token(*pair) for pair in maps] if self.class_token else list(maps)
        return [*maps, body.forward_head(last, pre_logits=True)] if self.compute_embedding else maps

    def run_stages(self, images: Tensor, last: int) -> list[Tensor]:
        """The map of one stage."""
        body: Any = self.body
        return list(body.forward_intermediates(images, indices=[last], intermediates_only=True, output_fmt="NCHW"))


def _with_class_token(maps: Tensor, tokens: Tensor) -> Tensor:
    """Concatenates the first token of (N, T, C) to each cell of (N, C, h, w): (N, 2C, h, w)."""
    token = tokens[:, 0, :, None, None].expand(-1, -1, maps.shape[2], maps.shape[3])
    return torch.cat([maps, token], dim=1)


def _alignment(name: str, size_multiple: int | None) -> Alignment:
    alignment = alignment_of(name)
    if alignment is not None:
        return alignment
    if size_multiple is None:
        raise ConfigError(
            f"backbone '{name}' is of family '{family_of(name)}', which this version of Vertebra does not know; "
            "set size_multiple to the number that divides its input sizes (1 for any size)"
        )
    return Alignment("multiple")


def _create(name: str, hub: bool, arguments: dict[str, Any]) -> nn.Module:
    try:
        return create(name, hub=hub, **arguments)
    except VertebraError:
        raise
    except (TypeError, ValueError, RuntimeError, NotImplementedError, AssertionError) as error:
        options = {key: value for key, value in arguments.items() if key not in ("num_classes", "in_chans")}
        raise ConfigError(
            f"backbone '{name}' cannot be built with {options}: {error or 'not supported by timm'}"
        ) from error


def _check_size(
    name: str, alignment: Alignment, fixed: tuple[int, int] | None, requested: tuple[int, int] | None, coarsest: int
) -> None:
    if fixed is None or requested is None:
        return
    if alignment.kind == "sized" and any(side % coarsest for side in requested):
        rounded = tuple(math.ceil(side / coarsest) * coarsest for side in requested)
        raise ConfigError(
            f"backbone '{name}' is built for one size, a multiple of {coarsest}: got {requested[0]}x{requested[1]}; "
            f"set image_size to {rounded[0]}x{rounded[1]}"
        )
    if any(side > limit for side, limit in zip(requested, fixed, strict=True)):
        raise ConfigError(
            f"backbone '{name}' works at {fixed[0]}x{fixed[1]} only, got a canvas of {requested[0]}x{requested[1]}; "
            f"set image_size to {fixed[0]}x{fixed[1]}"
        )
