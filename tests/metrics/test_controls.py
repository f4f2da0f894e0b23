"""Which controls a model is ahead of: in the worst of its runs."""

from __future__ import annotations

from vidiff.metrics.controls import CONTROLS, standing


def test_standing_is_that_of_the_worst_run():
    names = [c.name for c in CONTROLS]
    assert len(set(names)) == len(names) and {c.shows for c in CONTROLS} == {"rubbish", "limit"}
    ahead, behind = standing([(1.0, {"untrained": 2.0, "frames_frozen": 0.5}), (3.0, {"untrained": 2.0})])
    assert ahead == [] and [c.name for c in behind] == ["untrained", "frames_frozen"]
    ahead, behind = standing([(1.0, {"untrained": 2.0, "frames_frozen": 1.0, "grey_noise": None})])
    assert [c.name for c in ahead] == ["untrained"] and [c.name for c in behind] == ["frames_frozen"]
