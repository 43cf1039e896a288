import pytest
import torch

from vertebra.errors import IncompatiblePartsError
from vertebra.features import Features, FeatureSpec, Frame, Level


def spec(*strides: int) -> FeatureSpec:
    return FeatureSpec(tuple(Level(8, stride) for stride in strides), embedding=5)


def test_levels_are_finest_first() -> None:
    assert spec(4, 8, 8).strides == (4, 8, 8)
    with pytest.raises(ValueError, match="finest first"):
        spec(8, 4)


def test_at_stride_wants_exactly_one_level() -> None:
    assert spec(4, 8, 16).at_stride(8) == 1
    with pytest.raises(IncompatiblePartsError, match="exactly one level at stride 16"):
        spec(16, 16).at_stride(16)
    with pytest.raises(IncompatiblePartsError, match="a level at stride 4"):
        spec(16).at_stride(4)


def test_ratio_must_be_whole() -> None:
    assert spec(7, 14).ratio(1, 0) == 2
    with pytest.raises(IncompatiblePartsError, match="divide each other"):
        spec(12, 17).ratio(1, 0)


def test_describe_tells_the_strides() -> None:
    assert spec(4, 8).describe() == "strides 4, 8"
    assert spec(16, 16).describe() == "stride 16 only"
    assert FeatureSpec(()).describe() == "no aligned feature maps"


def test_no_levels_is_told_with_a_cure() -> None:
    with pytest.raises(IncompatiblePartsError, match="vertebra parts backbone"):
        FeatureSpec(()).require_levels()


def test_rows_takes_some_images_of_everything() -> None:
    features = Features(
        maps=(torch.arange(3.0).reshape(3, 1, 1, 1),),
        embedding=torch.arange(3.0).reshape(3, 1),
        frame=Frame((4, 4), torch.tensor([[4, 4], [3, 4], [2, 4]])),
    )
    some = features.rows(torch.tensor([2, 0]))
    assert some.maps[0].flatten().tolist() == [2, 0]
    assert some.embedding is not None and some.embedding.flatten().tolist() == [2, 0]
    assert some.frame.sizes.tolist() == [[2, 4], [4, 4]]
    assert some.frame.canvas == (4, 4)


def test_a_joint_error_names_both_parts() -> None:
    error = IncompatiblePartsError("a level at stride 4 or 8", "Add neck 'simple_pyramid'.")
    named = error.between("decoder 'deeplabv3plus'", "backbone 'vit'", "stride 16 only")
    assert str(named) == (
        "decoder 'deeplabv3plus' needs a level at stride 4 or 8; backbone 'vit' gives stride 16 only. "
        "Add neck 'simple_pyramid'."
    )
