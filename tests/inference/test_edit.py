"""`vidiff.edit`: each operation on its segment and nowhere else, and real films as long as they should be."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from films import TONES, facts, frames_of, heard, psnr, ramp, toned
from helpers import SHARED, TINY
from PIL import Image
from stand_ins import StyleStandIn

import vidiff
from vidiff.augment.degrade import GaussianNoise
from vidiff.inference.edit import Edited
from vidiff.inference.operations import Setting, color, operations
from vidiff.models.restoration import Restoration
from vidiff.video.provenance import read_provenance


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return toned(tmp_path_factory.mktemp("toned") / "in.mp4", third=12)


def thirds(*operations: dict) -> list[dict]:
    return [{"start": 12 * i, "end": 12 * i + 12, **operation} for i, operation in enumerate(operations)]


KEEP = {"operation": "keep"}


def test_the_operations_are_those_of_the_page():
    assert set(operations()) == {"keep", "drop", "speed", "color", "translate", "restore", "stylize"}


def test_every_operation_changes_its_segment_alone(source, tmp_path, monkeypatch):
    monkeypatch.setattr("vidiff.inference.stylize.style_extractor", lambda name: StyleStandIn())
    monkeypatch.setattr("vidiff.inference.stylize.available_extractor", lambda: "vgg16")
    Image.fromarray(ramp(1, 40, 60)[0]).save(tmp_path / "look.png")
    models = {"a.ckpt": Restoration(degradations=[GaussianNoise()], **TINY).eval()}
    monkeypatch.setattr("vidiff.inference.checkpoint.load_model", lambda path, *how: models[str(path)])
    before = frames_of(source).astype(int)
    style = {"operation": "stylize", "style": str(tmp_path / "look.png"), "iterations": 1, "resolution": 32}
    feedforward = style | {"method": "feedforward", "updates": 1, "iterations": 15}
    dark = {"operation": "color", "brightness": -0.5}
    for changed in (dark, style, feedforward):
        plan = {"segments": thirds(KEEP, changed, {"operation": "restore", "ckpt": "a.ckpt"})}
        done = vidiff.edit(plan, source, tmp_path / "out.mp4", say=lambda text: None)
        assert done == Edited(tmp_path / "out.mp4", 36, 1.5)
        after = frames_of(done.path)
        difference = np.abs(after - before).mean((1, 2, 3))
        assert (difference[12:24] > 5).all() and (difference[:12] < 3).all() and (difference[24:] < 3).all()
        assert facts(done.path)["sound"] == facts(source)["sound"]  # nothing was moved: copied
    found = read_provenance(done.path)
    assert "edited by vidiff" in found["comment"] and "keep, style of look.png" in found["comment"]
    assert found["marked"] and found["agrees"] and found["sidecar"]["model"]["family"].endswith(", Restoration")
    assert [i["name"] for i in found["sidecar"]["inputs"]] == ["in.mp4", "look.png"]
    assert found["sidecar"]["configuration"]["settings"]["segments"][2]["operation"] == "restore"


def test_color_is_its_formula():
    x = np.random.default_rng(0).integers(0, 256, (1, 9, 7, 3), dtype=np.uint8)
    made = color(Setting(Path(), None, (), print), brightness=0.1, contrast=1.2, saturation=0.4, gamma=1.8)
    (out,) = made.change(x)
    unit = x[0] / 255
    luma = unit @ [0.299, 0.587, 0.114]
    y = 1.2 * (luma[..., None] * 0.6 + 0.4 * unit - 0.5) + 0.6
    assert np.abs(out - 255 * np.clip(y, 0, 1) ** (1 / 1.8)).max() <= 0.51
    (same,) = color(Setting(Path(), None, (), print)).change(x)
    assert np.array_equal(same, x[0])


def test_a_plan_as_segment_writes_it_keeps_the_film(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vidiff.segment(source, "plan.yaml", every=0.4)
    done = vidiff.edit("plan.yaml", output="out.mkv")
    a, b = facts(source), facts(done.path)
    assert a["sound"] == b["sound"] and a["fps"] == b["fps"] and len(a["times"]) == len(b["times"]) == 36
    found = read_provenance(done.path)
    assert not found["marked"] and found["sidecar"] is None  # no model had a part in it
    assert psnr(frames_of(source), frames_of(done.path)) > 35


def test_places_may_be_seconds(source, tmp_path):
    segments = [{"start": 0, "end": "0.5s"}, {"start": "0.5 s", "end": 24}, {"start": 24, "end": "1.5s"}]
    for segment, operation in zip(segments, ("drop", "keep", "speed")):
        segment["operation"] = operation
    segments[2]["factor"] = 0.5
    done = vidiff.edit({"input": str(source), "output": str(tmp_path / "o.mp4"), "segments": segments})
    assert (done.frames, done.seconds) == (36, 1.5) and len(frames_of(done.path)) == 36
    tones = [tone for tone, _ in heard(done.path)]
    assert tones[2:8] == pytest.approx([TONES[1]] * 6, abs=15) and tones[12:26] == pytest.approx(
        [TONES[2]] * 14, abs=15
    )


CLIPS = [("carphone_pristine.mp4", 120), ("cutBunny.mp4", 240), ("flipping_a_pancake.mkv", 310)]
CLIPS += [("mmaction2_test.avi", 164), ("bikes.mp4", 250)]


def turned(source: Path, target: Path) -> Path:
    """The same film, to be shown turned by a quarter."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        outs = {s.index: writer.add_stream_from_template(s) for s in reader.streams if s.type in ("video", "audio")}
        one = 1 << 16
        outs[reader.streams.video[0].index].set_display_matrix([0, one, 0, -one, 0, 0, 0, 0, 1 << 30])
        for packet in reader.demux(*(reader.streams[i] for i in outs)):
            if packet.dts is not None:
                packet.stream = outs[packet.stream.index]
                writer.mux(packet)
    return target


@pytest.mark.slow
@pytest.mark.parametrize("upright", [True, False], ids=["upright", "turned"])
@pytest.mark.parametrize(("name", "frames"), CLIPS, ids=[name for name, _ in CLIPS])
def test_real_films(name, frames, upright, tmp_path):
    """Three segments, the middle one at twice the speed, then a cross-fade: frames, rate, size, length, sound."""
    source = SHARED / "data" / "clips" / name
    if not source.is_file():
        pytest.skip(f"needs {name} beside the checkout")
    if not upright:
        source = turned(source, tmp_path / "turned.mkv" if name.endswith("mkv") else tmp_path / "turned.mp4")
    third = frames // 3
    bounds = [(0, third), (third, 2 * third), (2 * third, frames)]
    segments = [{"start": a, "end": b, "operation": "keep"} for a, b in bounds]
    segments[1] |= {"operation": "speed", "factor": 2}
    segments[2] |= {"operation": "color", "saturation": 0, "fade": 10}
    done = vidiff.edit({"segments": segments}, source, tmp_path / "out.mp4", say=lambda text: None)
    expected = third + int(third / 2 + 0.5) + (frames - 2 * third) - 10
    a, b = facts(source), facts(done.path)
    assert done.frames == len(b["times"]) == expected
    assert b["fps"] == pytest.approx(a["fps"], rel=0.02)
    assert b["size"] == (a["size"] if upright else a["size"][::-1])
    begin = max(0.0, a["times"][0])
    assert b["times"][-1] - b["times"][0] == pytest.approx((expected - 1) / a["fps"], abs=0.05)
    with av.open(str(source)) as one, av.open(str(done.path)) as other:
        assert len(one.streams.audio) == len(other.streams.audio)
        for stream in other.streams.audio:
            length = sum(f.samples for f in other.decode(stream)) / stream.rate
            assert length == pytest.approx(expected / a["fps"] + begin, abs=0.08)
    last = frames_of(done.path)[-1].astype(int)
    assert np.abs(last - last.mean(-1, keepdims=True)).mean() < 3  # grey
