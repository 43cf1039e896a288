"""Conversion of torchvision's parameter names to timm's. The tests check each table by equal outputs.

ResNet, ResNeXt, Wide ResNet and current DenseNet files have the same names in both libraries and need no table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

State = dict[str, Tensor]
TIMM_NORM_EPS = 1e-5


def to_timm(architecture: str, state: Mapping[str, Tensor], norm_eps: float = TIMM_NORM_EPS) -> State | None:
    """A state dict with torchvision's names, renamed to timm's; None for an architecture without a table.

    If torchvision trained with another BatchNorm eps than timm's, the difference is added to the running variances, which
    makes the outputs equal without another option.

    Args:
        architecture: the timm model's name without a tag of weights.
        norm_eps: eps of the timm model's BatchNorm.
    """
    for pattern, convert, trained in _TABLES:
        if re.match(pattern, architecture):
            return _shift_variances(convert(dict(state)), trained - norm_eps)
    return None


def _shift_variances(state: State, shift: float) -> State:
    if shift == 0:
        return state
    return {name: value + shift if name.endswith("running_var") else value for name, value in state.items()}


def _rename(state: State, rules: Iterable[tuple[str, str]]) -> State:
    """Renames each tensor by the first rule, a pattern for the full name and its replacement, that matches."""
    compiled = [(re.compile(old), new) for old, new in rules]

    def renamed(name: str) -> str:
        for old, new in compiled:
            if old.fullmatch(name):
                return old.sub(new, name)
        return name

    return {renamed(name): value for name, value in state.items()}


# --- inverted residuals: MobileNetV2 and V3, EfficientNet, EfficientNetV2 ---------------------------------------------

_SEPARABLE = (("conv_dw", "bn1"), ("conv_pw", "bn2"))
_INVERTED = (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3"))
_PLAIN = (("conv", "bn1"),)
_FUSED = (("conv_exp", "bn1"), ("conv_pwl", "bn2"))


def _blocks(state: State, prefixes: Mapping[str, str]) -> State:
    """Renames the convolutions of inverted residual blocks, in order, to timm's names for such a block.

    Args:
        prefixes: from torchvision's prefix of a block to timm's.
    """
    steps: dict[str, dict[str, None]] = {prefix: {} for prefix in prefixes}
    parsed: dict[str, tuple[str, str, str]] = {}
    for name in state:
        match = re.fullmatch(r"(features(?:\.\d+)+)\.(?:conv|block)\.(\d+(?:\.\d)?|\d+\.fc[12])\.(\w+)", name)
        if match and match[1] in prefixes:
            parsed[name] = (match[1], match[2], match[3])
            steps[match[1]].setdefault(match[2])
    table = {prefix: _step_names(state, prefix, sorted(inner, key=_numbers)) for prefix, inner in steps.items()}
    renamed: State = {}
    for name, value in state.items():
        if name in parsed:
            prefix, step, leaf = parsed[name]
            renamed[f"{prefixes[prefix]}.{table[prefix][step]}.{leaf}"] = value
        else:
            renamed[name] = value
    return renamed


def _numbers(step: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", step)]


def _step_names(state: State, prefix: str, steps: list[str]) -> dict[str, str]:
    """timm's name of each convolution, norm and squeeze-excitation layer of one block."""
    squeeze = {step: "se.conv_reduce" if step.endswith("fc1") else "se.conv_expand" for step in steps if "fc" in step}
    rest = [step for step in steps if step not in squeeze]
    convolutions, norms = rest[0::2], rest[1::2]
    shapes = [
        next(value for name, value in state.items() if re.fullmatch(rf"{prefix}\.\w+\.{step}\.weight", name)).shape
        for step in convolutions
    ]
    depthwise = any(len(shape) == 4 and shape[1] == 1 and shape[2] > 1 for shape in shapes)
    kinds = {(1, False): _PLAIN, (2, False): _FUSED, (2, True): _SEPARABLE, (3, True): _INVERTED}
    kind = kinds.get((len(convolutions), depthwise))
    if kind is None or len(norms) != len(kind):
        return {step: step for step in steps}
    names = dict(squeeze)
    for (conv, norm), theirs, their_norm in zip(kind, convolutions, norms, strict=True):
        names[theirs], names[their_norm] = conv, norm
    return names


def _by_stage(repeats: tuple[int, ...]) -> dict[str, str]:
    """torchvision numbers MobileNet's blocks consecutively from 1; timm numbers them within each stage."""
    prefixes = [f"blocks.{stage}.{block}" for stage, count in enumerate(repeats) for block in range(count)]
    return {f"features.{number}": prefix for number, prefix in enumerate(prefixes, start=1)}


def _head_rules(last: int | str, conv: str, norm: str) -> list[tuple[str, str]]:
    return [
        (r"features\.0\.0\.(\w+)", r"conv_stem.\1"),
        (r"features\.0\.1\.(\w+)", r"bn1.\1"),
        (rf"features\.{last}\.0\.(\w+)", rf"{conv}.\1"),
        (rf"features\.{last}\.1\.(\w+)", rf"{norm}.\1"),
        (r"classifier\.[13]\.(\w+)", r"classifier.\1"),
    ]


def _mobilenet_v2(state: State) -> State:
    """torchvision.models.mobilenet_v2 to timm mobilenetv2_100."""
    return _rename(_blocks(state, _by_stage((1, 2, 3, 4, 3, 3, 1))), _head_rules(18, "conv_head", "bn2"))


def _mobilenet_v3(state: State) -> State:
    """torchvision.models.mobilenet_v3_{large,small} to timm mobilenetv3_{large,small}_100."""
    large = "features.16.0.weight" in state
    repeats = (1, 2, 3, 4, 2, 3) if large else (1, 2, 3, 2, 3)
    last = f"blocks.{len(repeats)}.0"
    state = _blocks(state, _by_stage(repeats))
    if state.get("classifier.0.weight") is not None and state["classifier.0.weight"].ndim == 2:
        state["classifier.0.weight"] = state["classifier.0.weight"][:, :, None, None]
    rules = [(r"classifier\.0\.(\w+)", r"conv_head.\1"), *_head_rules(sum(repeats) + 1, f"{last}.conv", f"{last}.bn1")]
    return _rename(state, rules)


def _efficientnet(state: State) -> State:
    """torchvision.models.efficientnet_* to timm efficientnet_b* and efficientnetv2_*."""
    matches = {match[0]: match for name in state if (match := re.match(r"features\.(\d+)\.(\d+)(?=\.block\.)", name))}
    prefixes = {prefix: f"blocks.{int(match[1]) - 1}.{match[2]}" for prefix, match in matches.items()}
    last = max((int(match[1]) for match in matches.values()), default=0) + 1
    return _rename(_blocks(state, prefixes), _head_rules(last, "conv_head", "bn2"))


def _mnasnet(state: State) -> State:
    """torchvision.models.mnasnet* to timm mnasnet_*: torchvision has the layers in one list, blocks in nested lists."""
    plain = {0: "conv_stem", 1: "bn1", 14: "conv_head", 15: "bn2"}
    first = {3: "conv_dw", 4: "bn1", 6: "conv_pw", 7: "bn2"}
    inner = {0: "conv_pw", 1: "bn1", 3: "conv_dw", 4: "bn2", 6: "conv_pwl", 7: "bn3"}
    rules = [(rf"layers\.{number}\.(\w+)", rf"{ours}.\1") for number, ours in plain.items()]
    rules += [(rf"layers\.{number}\.(\w+)", rf"blocks.0.0.{ours}.\1") for number, ours in first.items()]
    rules += [
        (rf"layers\.{stage + 7}\.(\d+)\.layers\.{number}\.(\w+)", rf"blocks.{stage}.\1.{ours}.\2")
        for stage in range(1, 7)
        for number, ours in inner.items()
    ]
    return _rename(state, [*rules, (r"classifier\.1\.(\w+)", r"classifier.\1")])


# --- plain and dense convolutional networks ---------------------------------------------------------------------------


def _vgg(state: State) -> State:
    """torchvision.models.vgg* to timm vgg*: timm has the two fully connected layers as convolutions."""
    state = dict(state)
    for name, side in (("classifier.0.weight", 7), ("classifier.3.weight", 1)):
        if name in state and state[name].ndim == 2:
            state[name] = state[name].reshape(state[name].shape[0], -1, side, side)
    return _rename(
        state,
        [
            (r"classifier\.0\.(\w+)", r"pre_logits.fc1.\1"),
            (r"classifier\.3\.(\w+)", r"pre_logits.fc2.\1"),
            (r"classifier\.6\.(\w+)", r"head.fc.\1"),
        ],
    )


def _densenet(state: State) -> State:
    """torchvision's published files have an extra dot in the names of a dense layer's norms and convolutions."""
    return _rename(state, [(r"(features\..*denselayer\d+\.(?:norm|conv))\.([12]\.\w+)", r"\1\2")])


def _regnet(state: State) -> State:
    """torchvision.models.regnet_{x,y}_* to timm regnet{x,y}_*."""
    block = r"trunk_output\.block(\d)\.block\d-(\d+)"

    def renamed(name: str) -> str:
        match = re.fullmatch(rf"{block}\.(.+)", name)
        return f"s{match[1]}.b{int(match[2]) + 1}.{match[3]}" if match else name

    inner = [
        (rf"(.+)\.{theirs}\.{index}\.(\w+)", rf"\1.{ours}.{kind}.\2")
        for theirs, ours in ((r"f\.a", "conv1"), (r"f\.b", "conv2"), (r"f\.c", "conv3"), ("proj", "downsample"))
        for index, kind in ((0, "conv"), (1, "bn"))
    ]
    rules = [
        (r"stem\.0\.(\w+)", r"stem.conv.\1"),
        (r"stem\.1\.(\w+)", r"stem.bn.\1"),
        (r"(s\d\.b\d+)\.f\.se\.(.+)", r"\1.se.\2"),
        (r"fc\.(\w+)", r"head.fc.\1"),
        *inner,
    ]
    return _rename({renamed(name): value for name, value in state.items()}, rules)


def _convnext(state: State) -> State:
    """torchvision.models.convnext_* to timm convnext_*: torchvision alternates stages and downsamplings in one list."""
    inner = {"block.0": "conv_dw", "block.2": "norm", "block.3": "mlp.fc1", "block.5": "mlp.fc2"}
    rules = [
        (r"features\.0\.([01])\.(\w+)", r"stem.\1.\2"),
        (r"classifier\.0\.(\w+)", r"head.norm.\1"),
        (r"classifier\.2\.(\w+)", r"head.fc.\1"),
    ]
    for stage in range(4):
        body, downsample = 2 * stage + 1, 2 * stage
        rules += [
            (rf"features\.{body}\.(\d+)\.{re.escape(theirs)}\.(\w+)", rf"stages.{stage}.blocks.\1.{ours}.\2")
            for theirs, ours in inner.items()
        ]
        rules.append((rf"features\.{body}\.(\d+)\.layer_scale", rf"stages.{stage}.blocks.\1.gamma"))
        rules.append((rf"features\.{downsample}\.([01])\.(\w+)", rf"stages.{stage}.downsample.\1.\2"))
    flat = {name: value.flatten() if name.endswith(".layer_scale") else value for name, value in state.items()}
    return _rename(flat, rules)


# --- transformers -----------------------------------------------------------------------------------------------------


def _swin(state: State) -> State:
    """torchvision.models.swin_* and swin_v2_* to timm swin_* and swinv2_*: in timm, patch merging begins a stage."""
    kept: State = {}
    for name, value in state.items():
        if name.endswith(("relative_position_index", "relative_coords_table")):
            continue  # derived from the window size; not weights
        if name.endswith("attn.qkv.bias") and name.replace("qkv.bias", "logit_scale") in state:
            query, _, values = value.chunk(3)  # V2 has no bias for keys
            kept[name.replace("qkv.bias", "q_bias")], kept[name.replace("qkv.bias", "v_bias")] = query, values
            continue
        kept[name] = value
    rules = [
        (r"features\.0\.0\.(\w+)", r"patch_embed.proj.\1"),
        (r"features\.0\.2\.(\w+)", r"patch_embed.norm.\1"),
        (r"head\.(\w+)", r"head.fc.\1"),
    ]
    for stage in range(4):
        body, downsample = 2 * stage + 1, 2 * stage
        rules += [
            (rf"features\.{body}\.(\d+)\.mlp\.0\.(\w+)", rf"layers.{stage}.blocks.\1.mlp.fc1.\2"),
            (rf"features\.{body}\.(\d+)\.mlp\.3\.(\w+)", rf"layers.{stage}.blocks.\1.mlp.fc2.\2"),
            (rf"features\.{body}\.(\d+)\.(.+)", rf"layers.{stage}.blocks.\1.\2"),
            (rf"features\.{downsample}\.(reduction|norm)\.(\w+)", rf"layers.{stage}.downsample.\1.\2"),
        ]
    return _rename(kept, rules)


def _vit(state: State) -> State:
    """torchvision.models.vit_* to timm vit_*; older files name the two layers of the MLP linear_1 and linear_2."""
    block = r"encoder\.layers\.encoder_layer_(\d+)"
    return _rename(
        state,
        [
            (r"class_token", "cls_token"),
            (r"conv_proj\.(\w+)", r"patch_embed.proj.\1"),
            (r"encoder\.pos_embedding", "pos_embed"),
            (r"encoder\.ln\.(\w+)", r"norm.\1"),
            (r"heads\.head\.(\w+)", r"head.\1"),
            (rf"{block}\.ln_([12])\.(\w+)", r"blocks.\1.norm\2.\3"),
            (rf"{block}\.self_attention\.in_proj_(\w+)", r"blocks.\1.attn.qkv.\2"),
            (rf"{block}\.self_attention\.out_proj\.(\w+)", r"blocks.\1.attn.proj.\2"),
            (rf"{block}\.mlp\.(?:0|linear_1)\.(\w+)", r"blocks.\1.mlp.fc1.\2"),
            (rf"{block}\.mlp\.(?:3|linear_2)\.(\w+)", r"blocks.\1.mlp.fc2.\2"),
        ],
    )


_TABLES: tuple[tuple[str, Callable[[State], State], float], ...] = (
    (r"mobilenetv2_100$", _mobilenet_v2, TIMM_NORM_EPS),
    (r"mobilenetv3_(large|small)_100$", _mobilenet_v3, 1e-3),
    (r"efficientnet_b[0-4]$", _efficientnet, TIMM_NORM_EPS),
    (r"efficientnet_b[5-7]$", _efficientnet, 1e-3),
    (r"efficientnetv2_[sml]$", _efficientnet, 1e-3),
    (r"mnasnet_", _mnasnet, TIMM_NORM_EPS),
    (r"vgg", _vgg, TIMM_NORM_EPS),
    (r"densenet", _densenet, TIMM_NORM_EPS),
    (r"regnet[xy]_", _regnet, TIMM_NORM_EPS),
    (r"convnext_(tiny|small|base|large)$", _convnext, TIMM_NORM_EPS),
    (r"swin(v2)?_(tiny|small|base)_", _swin, TIMM_NORM_EPS),
    (r"vit_", _vit, TIMM_NORM_EPS),
)
"""Patterns of timm's architecture names, their conversion, and the BatchNorm eps of torchvision's model."""
