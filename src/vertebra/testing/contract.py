"""What every part must hold to, as checks that raise `AssertionError`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as tree

from vertebra.backbones.base import Backbone
from vertebra.decoders.base import AnyDecoder
from vertebra.features import Features, FeatureSpec, Proposals
from vertebra.tasks.base import LabelSpec
from vertebra.testing.synthetic import fake_features, fake_proposals, fake_targets

SIZES = ((64, 64), (97, 65))


def check_backbone(backbone: Backbone, channels: int = 3) -> None:
    """Checks that maps and embedding match `out_spec`, at an even and at an odd, non-square size, and for a batch of one."""
    assert isinstance(backbone, Backbone), f"{type(backbone).__name__} is no Backbone; wrap it by as_backbone"
    backbone = backbone.with_required_outputs(
        embedding=backbone.out_spec.embedding is not None, maps=bool(backbone.out_spec.levels)
    )
    sizes = SIZES if backbone.fixed_size is None else (backbone.fixed_size,)
    for canvas in sizes:
        for batch in (1, 2):
            images = torch.randint(0, 256, (batch, channels, *canvas), dtype=torch.uint8)
            features = backbone.eval()(images)
            assert tuple(features.frame.canvas) == canvas, f"Frame.canvas is {features.frame.canvas}, not {canvas}"
            _check_maps(features, backbone.out_spec, canvas, backbone.size_multiple, batch)


def _check_maps(features: Features, spec: FeatureSpec, canvas: tuple[int, int], multiple: int, batch: int) -> None:
    height, width = (multiple * math.ceil(side / multiple) for side in canvas)
    assert len(features.maps) == len(spec.levels), (
        f"{len(features.maps)} maps, but {len(spec.levels)} levels in out_spec"
    )
    for level, values in zip(spec.levels, features.maps, strict=True):
        expected = (batch, level.channels, math.ceil(height / level.stride), math.ceil(width / level.stride))
        assert tuple(values.shape) == expected, (
            f"map of {level} is {tuple(values.shape)}, expected {expected} at {canvas}"
        )
    if spec.embedding is not None and features.embedding is not None:
        expected_embedding = (batch, spec.embedding)
        assert tuple(features.embedding.shape) == expected_embedding, (
            f"embedding is {tuple(features.embedding.shape)}, not {expected_embedding}"
        )


def check_feature_part(part: nn.Module, in_spec: FeatureSpec, multiple: int = 1) -> None:
    """Checks a neck or an encoder: shapes match `out_spec`, training on a batch of one, all parameters have gradients, one graph.

    Args:
        multiple: size multiple of the backbone in front of the part.
    """
    spec = _out_spec(part)
    for canvas in SIZES:
        for batch in (1, 2):
            incoming = fake_features(in_spec, canvas, batch, multiple)
            features = part.train()(incoming)
            _check_maps(features, spec, canvas, multiple, batch)
            passed = features.embedding is incoming.embedding and features.frame is incoming.frame
            assert passed, "the embedding and the frame must pass through: return features.with_maps(...)"
    check_gradients(part, torch.stack([values.float().pow(2).mean() for values in features.maps]).sum())
    check_compiles(part.eval(), fake_features(in_spec, SIZES[1], multiple=multiple))


def _out_spec(part: nn.Module) -> FeatureSpec:
    spec = getattr(part, "out_spec", None)
    assert isinstance(spec, FeatureSpec), (
        f"{type(part).__name__} has no out_spec; set it to the FeatureSpec of its output"
    )
    return spec


def check_keep_levels(build: Callable[..., nn.Module], in_spec: FeatureSpec, multiple: int = 1) -> None:
    """Checks a neck or an encoder with ``keep_levels``: the kept levels have the same shapes as in the whole part, and the same
    values if the finest one is kept; no parameter is left that only other levels need.

    Args:
        build: the part's class, or a callable that takes ``in_spec`` and ``keep_levels`` and returns the part.
        multiple: size multiple of the backbone in front of the part.
    """
    with torch.device("meta"):  # as the builder does to determine which levels are read
        build(in_spec)
    whole = build(in_spec).eval()
    spec = _out_spec(whole)
    canvas = SIZES[1]
    features = fake_features(in_spec, canvas, multiple=multiple)
    for kept in ([1], [0, 1], [len(spec.levels) - 1]):
        part = build(in_spec, kept).eval()
        levels = _out_spec(part).levels
        assert levels == spec.levels[: len(levels)], (
            f"with levels {kept} kept, out_spec must be the first of all levels"
        )
        assert max(kept) < len(levels), f"level {max(kept)} is kept, but out_spec has {len(levels)} levels"
        _check_maps(part(features), _out_spec(part), canvas, multiple, batch=2)
        if 0 in kept:
            _check_kept(part, whole, features, kept)
        maps = part.train()(features).maps
        total = torch.stack([maps[level].float().pow(2).mean() for level in kept]).sum()
        if total.requires_grad or any(value.requires_grad for value in part.parameters()):
            check_gradients(part, total)


def _check_kept(part: nn.Module, whole: nn.Module, features: Features, kept: Sequence[int]) -> None:
    """Checks that with the finest level kept, the kept levels have the same values as in the whole part with these weights."""
    missing = part.load_state_dict(whole.state_dict(), strict=False).missing_keys
    assert not missing, f"with levels {list(kept)} kept there are tensors that the whole part lacks: {missing[:5]}"
    with torch.no_grad():
        expected, result = whole(features).maps, part(features).maps
    for level in kept:
        torch.testing.assert_close(result[level], expected[level])


def check_decoder(
    build: Callable[[FeatureSpec, LabelSpec], AnyDecoder], in_spec: FeatureSpec, labels: LabelSpec
) -> None:
    """Checks a decoder: finite terms with the declared names, gradients of all parameters, decoded tensors of the batch size."""
    with torch.device("meta"):  # as the builder does to determine which levels are read
        build(in_spec, labels)
    decoder = build(in_spec, labels)
    read = decoder.in_levels or ()
    assert all(0 <= level < len(in_spec.levels) for level in read), f"reads levels {read} of {len(in_spec.levels)}"
    for canvas in SIZES:
        for batch in (1, 2):
            features, targets = fake_features(in_spec, canvas, batch), fake_targets(labels, canvas, batch)
            terms, outputs = decoder.train().loss(features, targets)
            assert set(terms) == set(decoder.terms), f"loss gives {sorted(terms)}, but declares {sorted(decoder.terms)}"
            for name, term in terms.items():
                assert bool(torch.isfinite(term.sum)), f"term '{name}' is {float(term.sum)}"
                assert not term.count.requires_grad, f"the count of term '{name}' carries a gradient"
            decoded = decoder.eval().decode(outputs, features.frame)
            assert all(len(value) == batch for value in decoded), "decoded tensors must start with the batch"
    check_gradients(decoder, torch.stack([term.mean() for term in terms.values()]).sum())
    proposals = () if decoder.needs is None else (fake_proposals(labels, SIZES[1]),)
    check_compiles(decoder.eval(), fake_features(in_spec, SIZES[1]), *proposals)


def check_gradients(module: nn.Module, loss: Tensor) -> None:
    """Checks that every trainable parameter has a gradient after the backward pass."""
    module.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    without = [name for name, value in module.named_parameters() if value.requires_grad and value.grad is None]
    assert not without, f"no gradient reaches {len(without)} trainable parameters: {', '.join(without[:5])}"


def check_compiles(part: nn.Module, features: Features, *proposals: Proposals) -> None:
    """Checks that the part compiles as one graph (``fullgraph=True``) with the same values.

    Args:
        proposals: the input boxes of a decoder that reads boxes.
    """
    torch.compiler.reset()  # parts of one class share code, and the number of cached graphs is limited
    compiled = torch.compile(part, fullgraph=True, backend="eager")
    with torch.no_grad():
        expected, got = _tensors(part(features, *proposals)), _tensors(compiled(features, *proposals))
    for left, right in zip(expected, got, strict=True):
        torch.testing.assert_close(left, right)


def _tensors(values: Any) -> list[Tensor]:
    if isinstance(values, Features):
        return list(values.maps)
    return [leaf for leaf in tree.tree_leaves(values) if isinstance(leaf, Tensor)]
