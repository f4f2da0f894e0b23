"""From names to metrics: what `auto` takes, and what is missing is said at the start."""

from __future__ import annotations

import pytest
from stand_ins import known, put_i3d

from vidiff.errors import UsageError
from vidiff.metrics import WeightsMissing, resolve_metrics
from vidiff.metrics.resolve import auto_note
from vidiff.pretrained.weights import MANIFEST


@pytest.fixture(autouse=True)
def no_other_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VIDIFF_WEIGHTS_DIR", raising=False)


@pytest.mark.parametrize("name", ["fvd2048_16f", "fvd256_16f@sgv", "kvd2048_16f", "fid", "fid_legacy"])
def test_missing_weights_raise_at_the_start(name, tmp_path, monkeypatch):
    monkeypatch.setenv("VIDIFF_WEIGHTS_DIR", str(tmp_path / "mine"))
    with pytest.raises(WeightsMissing) as info:
        resolve_metrics([name, "fvd_random"])
    text = str(info.value)
    assert isinstance(info.value, UsageError)
    assert (MANIFEST["inception"] if name.startswith("fid") else MANIFEST["i3d"]).file in text
    assert str(tmp_path / "mine") in text and "vidiff weights fetch" in text and "fvd_random" in text


def test_auto_takes_what_is_there(tmp_path):
    without = resolve_metrics("auto", num_clips=32)
    names = [m.name for m in without]
    assert "fvd_random" in names and "motion" in names and "diversity" in names
    assert not any(m.official for m in without)
    assert "fvd (no I3D weights" in auto_note(without)
    path = put_i3d(tmp_path / "w")
    manifest = {**MANIFEST, "i3d": known(path)}
    found = resolve_metrics("auto", num_clips=32, weights=path.parent, manifest=manifest)
    assert [m.name for m in found] == ["fvd32_16f", *names]
    short = resolve_metrics("auto", num_clips=32, num_frames=4, weights=path.parent, manifest=manifest)
    assert [m.name for m in short] == names
    assert [m.name for m in resolve_metrics("auto", num_frames=1)] == [n for n in names if n != "motion"]
    # `auto` never hides a file that is there and wrong.
    with pytest.raises(UsageError, match="sha256"):
        resolve_metrics("auto", weights=path.parent)
