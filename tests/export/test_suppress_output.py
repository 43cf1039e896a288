"""What exporters tell their authors is not told to users, and only while they run."""

from __future__ import annotations

import logging
import warnings

import pytest

from vertebra.export.suppress_output import suppress_output


def test_only_within_and_only_below_errors(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("an exporter")
    with suppress_output():
        warnings.warn("advice", stacklevel=1)  # an error in these tests, if it came through
        log.warning("advice")
        log.error("wrong")
    log.warning("after")
    assert [record.message for record in caplog.records] == ["wrong", "after"]
    with pytest.warns(UserWarning, match="after"):
        warnings.warn("after", stacklevel=1)
