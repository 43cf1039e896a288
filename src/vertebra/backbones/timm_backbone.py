"""Any of timm's models as a backbone: feature levels and embedding from one pass."""

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
    """A model of timm as a backbone: its feature maps at several strides, and its own embedding, from one pass.

    Args:
        name: a timm model's name, with or without a weights' tag ("resnet50", "resnet50.a1_in1k").
        pretrained: true takes timm's weights from its hub; a file's path takes local weights in timm's or torchvision's
            key names; false starts from random weights.
        in_channels: channels of the images; the first convolution of pretrained weights is fitted to them.
        freeze: the first this many stages, as timm counts them (2 on a ResNet: stem and first stage), or "all", do not
            learn; their BatchNorm statistics stay too.
        output_stride: 8 or 16: dilation instead of further strides, where timm supports it.
        dilate_first: with that, the first block of a dilated stage of a ResNet dilates as those after it do, as
            segmentation-models-pytorch has it; by default as timm and torchvision have it.
        norm_eps: eps of all BatchNorm and LayerNorm layers, for weights that were trained with another one than timm's
            (files in torchvision's names bring theirs).
        frozen_norm: BatchNorm layers stay as they are, statistics and all, while the rest learns.
        mean, std: what is taken off images in 0..1 and what they are divided by, a number a channel; None: timm's own.
        out_indices: which of timm's feature maps, by index; by default the last one at each stride from 2 on, and of a plain
            vision transformer the last one.
        final_norm: whether levels of a plain vision transformer are read through its final norm.
        class_token: whether each map of a plain vision transformer has the class token beside each of its cells, as further
            channels.
        image_size: (height, width) of the canvas, for families that are built for one size.
        size_multiple: what the canvas is padded to a multiple of; by default measured.
        args: further arguments of timm's own constructor.

    Raises:
        UnknownName: timm has no such model.
        ConfigError: an option that this architecture does not have.
        WeightsError: the weights cannot be had.
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
        check_range(f"backbone '{name}'", least=1, most=4096, size_multiple=size_multiple)
        check_range(f"backbone '{name}'", least=0, norm_eps=norm_eps)
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
                raise ConfigError(f"backbone '{self.name}' has no class token; leave class_token out")
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
        # a plain transformer's last block is meant to be read through its final norm
        self._norm = {"norm": self.final_norm} if "norm" in forward and one_stride else {}
        if self.class_token:
            self._norm["return_prefix_tokens"] = True

    def run(self, images: Tensor) -> list[Tensor]:
        """The asked-for maps, and the embedding after them if it is asked for."""
        body: Any = self.body
        if not self.compute_maps:
            return [body.forward_head(body.forward_features(images), pre_logits=True)]
        found = body.forward_intermediates(
            images,
            indices=sorted(self.out_indices),
            intermediates_only=not self.compute_embedding,
            stop_early=not self.compute_embedding,
            output_fmt="NCHW",
            **self._norm,
        )
        last, maps = found if self.compute_embedding else (None, found)
        maps = [_beside(*pair) for pair in maps] if self.class_token else list(maps)
        return [*maps, body.forward_head(last, pre_logits=True)] if self.compute_embedding else maps

    def run_stages(self, images: Tensor, last: int) -> list[Tensor]:
        """The map of one stage."""
        body: Any = self.body
        return list(body.forward_intermediates(images, indices=[last], intermediates_only=True, output_fmt="NCHW"))


def _beside(maps: Tensor, tokens: Tensor) -> Tensor:
    """Maps (N, C, h, w) with the first token of (N, T, C) beside each cell: (N, 2C, h, w)."""
    token = tokens[:, 0, :, None, None].expand(-1, -1, maps.shape[2], maps.shape[3])
    return torch.cat([maps, token], dim=1)


def _alignment(name: str, size_multiple: int | None) -> Alignment:
    known = alignment_of(name)
    if known is not None:
        return known
    if size_multiple is None:
        raise ConfigError(
            f"backbone '{name}' is of family '{family_of(name)}', which this version of Vertebra does not know; "
            "give size_multiple: what its input size must be a multiple of (1 for any size)"
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
    name: str, alignment: Alignment, fixed: tuple[int, int] | None, asked: tuple[int, int] | None, coarsest: int
) -> None:
    if fixed is None or asked is None:
        return
    if alignment.kind == "sized" and any(side % coarsest for side in asked):
        fit = tuple(math.ceil(side / coarsest) * coarsest for side in asked)
        raise ConfigError(
            f"backbone '{name}' is built for one size, a multiple of {coarsest}: got {asked[0]}x{asked[1]}; "
            f"set image_size to {fit[0]}x{fit[1]}"
        )
    if any(want > have for want, have in zip(asked, fixed, strict=True)):
        raise ConfigError(
            f"backbone '{name}' works at {fixed[0]}x{fixed[1]} only, got a canvas of {asked[0]}x{asked[1]}; "
            f"set image_size to {fixed[0]}x{fixed[1]}"
        )
