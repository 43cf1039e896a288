"""The catalog of backbones, without building them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import timm

from vertebra.backbones.alignment import ALIGNMENT, Alignment
from vertebra.errors import UnknownName


@dataclass(frozen=True)
class Family:
    """One of timm's architecture families.

    Attributes:
        name: timm's module.
        models: how many models it has.
        example: one of its models.
        kind: the input sizes at which its maps are aligned, see `Alignment`; "unknown" if the table lacks the family.
        refusal: why it returns no maps, or None.
    """

    name: str
    models: int
    example: str
    kind: str
    refusal: str | None


def timm_models(pattern: str = "", *, pretrained: bool = False) -> list[str]:
    """Names of timm's models, without tags of weights: all, or those that match a pattern such as ``"resnet*"``.

    Args:
        pretrained: only those with published weights.
    """
    if not pretrained:
        return list(timm.list_models(pattern))
    known = {name.partition(".")[0] for name in timm.list_models(pretrained=True)}
    return [name for name in timm.list_models(pattern) if name in known]


def check_name(name: str) -> str:
    """The name without a tag of weights, if timm has the model.

    Raises:
        UnknownName: timm has no such model; the message suggests similar names.
    """
    architecture = name.split(".")[0]
    if not timm.is_model(architecture):
        raise UnknownName("backbone", name, timm_models())
    return architecture


def family_of(name: str) -> str:
    """The family of a model."""
    entry = timm.model_entrypoint(check_name(name))
    return str(entry.__module__).rpartition(".")[2]


def alignment_of(name: str) -> Alignment | None:
    """The alignment of a model's family; None if the table lacks the family."""
    return ALIGNMENT.get(family_of(name))


@lru_cache(maxsize=1)
def families() -> tuple[Family, ...]:
    """All families, by name."""
    by_family: dict[str, list[str]] = {}
    for name in timm_models():
        by_family.setdefault(family_of(name), []).append(name)
    return tuple(_family(name, sorted(models, key=len)) for name, models in sorted(by_family.items()))


def _family(name: str, models: list[str]) -> Family:
    alignment = ALIGNMENT.get(name)
    if alignment is None:
        return Family(name, len(models), models[0], "unknown", "not measured yet; give the option size_multiple")
    refusal = alignment.reason if alignment.kind == "refused" else None
    return Family(name, len(models), models[0], alignment.kind, refusal)
