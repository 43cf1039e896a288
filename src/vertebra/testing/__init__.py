"""Contract checks for parts, Vertebra's and yours.

    from vertebra.testing import check_backbone, check_feature_part, check_decoder, check_export

Each raises `AssertionError` with a message about the broken rule.
"""

from vertebra.testing.contract import check_backbone, check_decoder, check_feature_part, check_keep_levels
from vertebra.testing.onnx import check_export
from vertebra.testing.synthetic import fake_features, fake_labels, fake_proposals, fake_targets

__all__ = [
    "check_backbone",
    "check_decoder",
    "check_export",
    "check_feature_part",
    "check_keep_levels",
    "fake_features",
    "fake_labels",
    "fake_proposals",
    "fake_targets",
]
