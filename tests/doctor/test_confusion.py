"""Every way to fail named rightly, and no alarm of a healthy run: trained anew, see `broken_runs`."""

from __future__ import annotations

import pytest
from broken_runs import CASES, table, train_missing


@pytest.mark.slow
def test_failures_are_named_and_healthy_runs_raise_no_alarm(tmp_path):
    names = list(CASES)
    assert len({c.kind for c in CASES.values()} - {"healthy"}) == 11
    assert sum(c.kind == "healthy" for c in CASES.values()) == 9
    train_missing(tmp_path, names)
    text, right, alarms = table(tmp_path, names)
    assert (right, alarms) == (13, 0), text
