"""A report says in words which controls the model is ahead of."""

from __future__ import annotations

from vidiff.training.report import _verdict


def test_a_report_names_what_a_model_is_ahead_of_and_behind():
    controls = {"untrained": 28.0, "mean_frame_frozen": 6.0, "frames_frozen": 0.2, "real_held_out": 0.3}
    assert _verdict("clip_distance", 0.25, controls) == [
        "By clip_distance ahead of: untrained, mean frame frozen, real held out; behind: frames frozen."
    ]
    first, second = _verdict("fvd_random", 7.0, controls)
    assert first.startswith("NOT ahead of mean frame frozen:")
    assert second == "By fvd_random ahead of: untrained; behind: mean frame frozen, frames frozen, real held out."
