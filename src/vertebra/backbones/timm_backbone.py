"""Any of timm's models as a backbone: feature levels and embedding from one pass."""

from __future__ import annotations

import inspect
import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.backbones.alignment import Alignment
from vertebra.backbones.catalogue import alignment_of, check_name, family_of
from vertebra.backbones.pretrained import create, load_local
from vertebra.backbones.reach import parameters_used
from vertebra.errors import ConfigError, VertebraError
from vertebra.features import Features, FeatureSpec, Frame, Level


class TimmBackbone(nn.Module):
    """A model of timm as a backbone: its feature maps at several strides, and its own embedding, from one pass.

    Args:
        name: a timm model's name, with or without a weights' tag ("resnet50", "resnet50.a1_in1k").
        pretrained: true takes timm's weights from its hub; a file's path takes local weights in timm's or torchvision's
            key names; false starts from random weights.
        in_channels: channels of the images; the first convolution of pretrained weights is fitted to them.
        freeze: the first this many stages, as timm counts them (2 on a ResNet: stem and first stage), or "all", do not
            learn; their BatchNorm statistics stay too.
        output_stride: 8 or 16: dilation instead of further strides, where timm supports it.
        norm_eps: eps of all BatchNorm layers, for weights that were trained with another one than timm's (files in
            torchvision's names bring theirs).
        taps: which of timm's feature maps, by index; by default the last one at each stride from 2 on, and of a plain
            vision transformer the last one.
        image_size: (height, width) of the canvas, for families that are built for one size.
        size_multiple: what the canvas is padded to a multiple of; by default measured.
        args: further arguments of timm's own constructor.

    Raises:
        UnknownName: timm has no such model.
        ConfigError: an option that this architecture does not have.
        WeightsError: the weights cannot be had.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        *,
        pretrained: bool | str = False,
        in_channels: int = 3,
        freeze: int | Literal["all"] = 0,
        output_stride: int | None = None,
        norm_eps: float | None = None,
        taps: list[int] | None = None,
        image_size: tuple[int, int] | None = None,
        size_multiple: int | None = None,
        args: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        architecture = check_name(name)
        alignment = _alignment(name, size_multiple)
        self.name, self.in_channels, self.freeze = name, in_channels, freeze
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
        self.load_report = None
        if isinstance(pretrained, str):
            self.load_report = load_local(self.body, architecture, pretrained, in_channels, norm_eps)
        self.pretrained = pretrained is not False
        self.origin = _origin(name, pretrained, self.load_report)
        if norm_eps is not None:
            for layer in self.body.modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    layer.eps = norm_eps
        self._read_info(alignment, taps, image_size, size_multiple)
        self._keep_normalisation()
        self.compute_vector, self.compute_maps = True, bool(self.taps)
        self._frozen_norms: list[nn.Module] = []

    def _read_info(
        self, alignment: Alignment, taps: list[int] | None, image_size: tuple[int, int] | None, multiple: int | None
    ) -> None:
        info: Any = self.body.feature_info
        self.stages = [Level(stage["num_chs"], stage["reduction"]) for stage in getattr(info, "info", info)]
        self.taps = [] if self.refusal else _choose(self.stages, taps, self.name)
        levels = tuple(self.stages[index] for index in self.taps)
        self.out_spec = FeatureSpec(levels, int(self.body.head_hidden_size))  # type: ignore[arg-type]
        coarsest = max(stage.stride for stage in self.stages)
        config: Any = self.body.pretrained_cfg
        native = (int(config["input_size"][1]), int(config["input_size"][2]))
        self.fixed_size: tuple[int, int] | None = None
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
        self._norm = {"norm": True} if "norm" in forward and one_stride else {}

    def _keep_normalisation(self) -> None:
        config: Any = self.body.pretrained_cfg
        for key in ("mean", "std"):
            values = [config[key][channel % len(config[key])] for channel in range(self.in_channels)]
            self.register_buffer(key, 255.0 * torch.tensor(values).reshape(1, -1, 1, 1), persistent=False)

    def settle(self, *, vector: bool, maps: bool) -> None:
        """Says what will be asked of this backbone, once: it computes and trains no more than that. So a backbone is of one
        model at a time, the one that was built on it last.

        Args:
            vector: whether the embedding is asked for.
            maps: whether the feature maps are.
        """
        self.compute_vector, self.compute_maps = vector, maps and bool(self.taps)
        used = parameters_used(self.body, self._run, self._probe_images())
        frozen = self._frozen_parameters()
        for name, parameter in self.body.named_parameters():
            parameter.requires_grad_(name in used and name not in frozen)
        self._frozen_norms = [
            layer
            for prefix, layer in self.body.named_modules()
            if isinstance(layer, nn.modules.batchnorm._BatchNorm)
            and (self.freeze == "all" or f"{prefix}.weight" in frozen)
        ]
        self.train(self.training)

    def _probe_images(self) -> Tensor:
        size = self.fixed_size or (2 * max(stage.stride for stage in self.stages),) * 2
        return torch.zeros(2, self.in_channels, *size, device="meta")

    def _frozen_parameters(self) -> set[str]:
        if self.freeze == 0:
            return set()
        if self.freeze == "all":
            return {name for name, _ in self.body.named_parameters()}
        if not 0 <= self.freeze <= len(self.stages):
            raise ConfigError(f"freeze must be 0 to {len(self.stages)} or \"all\" for '{self.name}', got {self.freeze}")
        last = self.freeze - 1

        def up_to(images: Tensor) -> list[Tensor]:
            body: Any = self.body
            return list(body.forward_intermediates(images, indices=[last], intermediates_only=True, output_fmt="NCHW"))

        return parameters_used(self.body, up_to, self._probe_images())

    def train(self, mode: bool = True) -> TimmBackbone:
        """Training mode, but for the norms of frozen stages: their statistics stay."""
        super().train(mode)
        for layer in self._frozen_norms:
            layer.eval()
        return self

    def forward(self, images: Tensor, sizes: Tensor | None = None) -> Features:
        """Features of a batch of canvases.

        Args:
            images: (N, C, H, W), uint8 or float in 0..255.
            sizes: (N, 2) int64, the valid pixels of each; None where canvases are full.
        """
        height, width = images.shape[-2:]
        if sizes is None:
            sizes = torch.tensor([[height, width]], device=images.device).expand(images.shape[0], 2)
        normal = (images.to(self.mean.dtype) - self.mean) / self.std
        outputs = self._run(self._pad(normal))
        vector = outputs[-1] if self.compute_vector else None
        maps = outputs[:-1] if self.compute_vector else outputs
        return Features(tuple(maps), vector, Frame((height, width), sizes))

    def _pad(self, images: Tensor) -> Tensor:
        """Pads at the right and bottom with the mean colour, which is 0 after normalisation."""
        height, width = images.shape[-2:]
        if self.fixed_size is not None:
            if height > self.fixed_size[0] or width > self.fixed_size[1]:
                raise ConfigError(
                    f"backbone '{self.name}' is built for {self.fixed_size[0]}x{self.fixed_size[1]}, got {height}x{width}"
                )
            return F.pad(images, (0, self.fixed_size[1] - width, 0, self.fixed_size[0] - height))
        if self.size_multiple == 1:
            return images
        return F.pad(images, (0, -width % self.size_multiple, 0, -height % self.size_multiple))

    def _run(self, images: Tensor) -> list[Tensor]:
        """The asked-for maps, and the embedding after them if it is asked for."""
        body: Any = self.body
        if not self.compute_maps:
            return [body.forward_head(body.forward_features(images), pre_logits=True)]
        found = body.forward_intermediates(
            images,
            indices=sorted(self.taps),
            intermediates_only=not self.compute_vector,
            stop_early=not self.compute_vector,
            output_fmt="NCHW",
            **self._norm,
        )
        if not self.compute_vector:
            return list(found)
        last, maps = found
        return [*maps, body.forward_head(last, pre_logits=True)]


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


def _choose(stages: list[Level], taps: list[int] | None, name: str) -> list[int]:
    """Which stages are taken, finest first."""
    if taps is None:
        last = {stage.stride: index for index, stage in enumerate(stages)}
        chosen = [index for stride, index in last.items() if stride >= 2]
    else:
        wrong = [tap for tap in taps if not -len(stages) <= tap < len(stages)]
        if wrong or not taps:
            raise ConfigError(f"taps of backbone '{name}' go from 0 to {len(stages) - 1}, got {taps}")
        chosen = sorted({tap % len(stages) for tap in taps})
    if [stages[index].stride for index in chosen] != sorted(stages[index].stride for index in chosen):
        raise ConfigError(f"taps {chosen} of backbone '{name}' do not go from fine to coarse")
    return chosen


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


def _origin(name: str, pretrained: bool | str, report: Any) -> str:
    if pretrained is True:
        return f"timm's pretrained weights of '{name}'"
    if pretrained:
        return f"weights of '{name}' from {pretrained}: {report.summary()}"
    return f"'{name}' from random weights; for pretrained ones set pretrained: true"
