"""A translated film is the film it was: shape, colours, clock, durations, sound, cover; and what it says it cannot."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from films import RATE, beep, check_kept, facts, film, moving_bar
from helpers import SHARED

from vidiff.errors import RunError, UsageError
from vidiff.video.remux import remux


def flash_and_beep(path: Path) -> tuple[float, float]:
    """When a film turns bright, and when it turns loud."""
    with av.open(str(path)) as reader:
        bright = next(f.time for f in reader.decode(video=0) if f.to_ndarray(format="gray").mean() > 128)
    with av.open(str(path)) as reader:
        for frame in reader.decode(audio=0):
            wave = np.abs(frame.to_ndarray()[0].astype(float) / (32768 if frame.format.name[:3] == "s16" else 1))
            if (wave > 0.2).any():
                return bright, frame.time + int(np.argmax(wave > 0.2)) / frame.sample_rate
    raise AssertionError("no beep")


def copied(source: Path, target: Path) -> list[str]:
    """Remux frames as they are; what was said."""
    said: list[str] = []
    remux(source, target, iter, said.append)
    return said


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("sound", ["pcm_s16le", "aac"])
def test_sound_is_copied_where_the_output_can_hold_it_and_encoded_elsewhere(tmp_path, sound, suffix):
    source, target = film(tmp_path / "in.mov", sounds=(sound,)), tmp_path / f"out.{suffix}"
    said = copied(source, target)
    with av.open(str(target)) as reader:
        name = reader.streams.audio[0].codec_context.name
    if sound == "pcm_s16le" and suffix == "mp4":
        assert name == "aac" and len(said) == 1 and "encoded as AAC" in said[0]
    else:
        assert name == sound and not said
    flash, beep = flash_and_beep(target)
    assert abs(flash - beep) < 0.005


def test_sound_that_no_output_can_hold_is_encoded(tmp_path):
    source = film(tmp_path / "in.avi", codec="mpeg4", sounds=("adpcm_ms",))
    for suffix in ("mp4", "mov", "mkv"):
        assert "encoded as AAC" in copied(source, tmp_path / f"out.{suffix}")[0]
        flash, beep = flash_and_beep(tmp_path / f"out.{suffix}")
        assert abs(flash - beep) < 0.005


def test_every_track_keeps_its_language(tmp_path):
    source = film(tmp_path / "in.mkv", sounds=("pcm_s16le", "aac"))
    for suffix, languages in (("mkv", ["deu", "fra"]), ("mp4", ["deu", "fra"]), ("mov", ["ger", "fra"])):
        copied(source, tmp_path / f"out.{suffix}")
        with av.open(str(tmp_path / f"out.{suffix}")) as reader:
            assert [s.language for s in reader.streams.audio] == languages


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("form", ["ts", "mkv"])
def test_a_clock_that_runs_since_ten_hours_starts_at_zero(tmp_path, form, suffix):
    source, target = film(tmp_path / f"in.{form}", begin=36000, sounds=("mp2",)), tmp_path / f"out.{suffix}"
    assert not copied(source, target)
    with av.open(str(target)) as reader:
        assert reader.start_time < 0.1e6 and reader.duration < 1.3e6
    before, after = flash_and_beep(source), flash_and_beep(target)
    assert after[0] - after[1] == pytest.approx(before[0] - before[1], abs=0.002)


def test_a_clock_that_is_put_back_goes_on(tmp_path):
    parts = [film(tmp_path / f"{n}.ts", begin=5, sounds=("mp2",)).read_bytes() for n in range(2)]
    (tmp_path / "in.ts").write_bytes(b"".join(parts))
    assert remux(tmp_path / "in.ts", tmp_path / "out.mp4", iter) == 20
    with av.open(str(tmp_path / "out.mp4")) as reader:
        times = [float(f.pts * f.time_base) for f in reader.decode(video=0)]
        assert np.diff(times) == pytest.approx(np.full(19, 0.1), abs=0.002)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_a_last_frame_that_stands_still_does(tmp_path, suffix):
    lasts = (10, 20, 5, 10, 30, 10, 10, 10, 10, 200)
    film(tmp_path / "in.mp4", lasts=lasts)
    copied(tmp_path / "in.mp4", tmp_path / f"out.{suffix}")
    with av.open(str(tmp_path / f"out.{suffix}")) as reader:
        assert reader.duration == pytest.approx(sum(lasts) * 1e4, abs=1e4)
        kept = [float(f.duration * f.time_base) for f in reader.decode(video=0)]
    assert kept == pytest.approx([x / 100 for x in lasts], abs=0.01)


def test_a_gif_lasts_as_long_as_it_did(tmp_path):
    from PIL import Image

    images = [Image.new("RGB", (32, 24), (20 * i, 0, 0)) for i in range(10)]
    durations = [100] * 9 + [2000]
    images[0].save(tmp_path / "in.gif", save_all=True, append_images=images[1:], duration=durations, loop=0)
    assert remux(tmp_path / "in.gif", tmp_path / "out.mp4", iter) == 10
    with av.open(str(tmp_path / "out.mp4")) as reader:
        assert reader.duration == pytest.approx(2.9e6, abs=1e4)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_pixel_aspect_and_colour_tags_are_kept(tmp_path, suffix):
    tags = {"color_primaries": 1, "color_trc": 1, "colorspace": 1, "color_range": 1}
    source = film(tmp_path / "in.mp4", video={"sample_aspect_ratio": Fraction(2), **tags})
    assert not copied(source, tmp_path / f"out.{suffix}")
    with av.open(str(tmp_path / f"out.{suffix}")) as reader:
        stream = reader.streams.video[0]
        assert stream.sample_aspect_ratio == 2 and (stream.width, stream.height) == (32, 24)
        assert {name: int(getattr(stream.codec_context, name)) for name in tags} == tags


def colour_after(tmp_path: Path, matrix: int, rgb: tuple[int, int, int]) -> np.ndarray:
    """The planes' first values of a film of one colour, before and after: [[Y, U, V], [Y, U, V]]."""
    found = []
    with av.open(str(tmp_path / "in.mp4"), "w") as writer:
        out = writer.add_stream("libx264", rate=10)
        out.width = out.height = 32
        out.pix_fmt, out.options, out.codec_context.colorspace = "yuv420p", {"crf": "1"}, matrix
        for i in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), rgb, np.uint8), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=5 if matrix == 2 else matrix)
            frame.pts, frame.time_base = i, Fraction(1, 10)
            writer.mux(out.encode(frame))
        writer.mux(out.encode())
    copied(tmp_path / "in.mp4", tmp_path / "out.mp4")
    for name in ("in", "out"):
        with av.open(str(tmp_path / f"{name}.mp4")) as reader:
            frame = next(reader.decode(video=0))
            found.append([bytes(plane)[0] for plane in frame.planes])
    return np.array(found, int)


@pytest.mark.parametrize("matrix", [1, 2, 6, 9])
def test_colours_go_back_through_the_matrix_they_came_from(tmp_path, matrix):
    before, after = colour_after(tmp_path, matrix, (200, 60, 40))
    assert np.abs(before - after).max() <= 2


@pytest.mark.parametrize("curve, name", [(16, "PQ"), pytest.param(18, "HLG", marks=pytest.mark.slow)])
def test_high_dynamic_range_is_tone_mapped_and_tagged(tmp_path, curve, name):
    tags = {"color_primaries": 9, "color_trc": curve, "colorspace": 9, "color_range": 1}
    source = film(tmp_path / "in.mkv", codec="ffv1", pix_fmt="yuv420p10le", video=tags)
    said = copied(source, tmp_path / "out.mp4")
    assert len(said) == 1 and name in said[0]
    with av.open(str(tmp_path / "out.mp4")) as reader:
        context = reader.streams.video[0].codec_context
        assert [int(getattr(context, tag)) for tag in tags] == [1, 1, 1, 1]


def test_where_hdr_cannot_be_mapped_the_command_that_does_is_said(tmp_path, monkeypatch):
    tags = {"color_primaries": 9, "color_trc": 16, "colorspace": 9}
    source = film(tmp_path / "in.mkv", codec="ffv1", pix_fmt="yuv420p10le", video=tags)
    monkeypatch.setattr("vidiff.video.display._made", threading.local())
    monkeypatch.setattr(
        "vidiff.video.display._graph", lambda frame: (_ for _ in ()).throw(ValueError("no such filter"))
    )
    with pytest.raises(RunError, match=r"HDR \(PQ\).* ffmpeg -i \S*in.mkv -vf zscale"):
        copied(source, tmp_path / "out.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["in.mkv"]


def test_a_cover_is_no_film_and_is_kept(tmp_path):
    with av.open(str(film(tmp_path / "plain.mp4"))) as reader, av.open(str(tmp_path / "in.mp4"), "w") as writer:
        cover = writer.add_stream("mjpeg", rate=1)
        cover.width = cover.height = 64
        cover.pix_fmt, cover.disposition = "yuvj420p", Disposition.attached_pic
        video = writer.add_stream_from_template(reader.streams.video[0])
        writer.mux(cover.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 99, np.uint8), format="rgb24")))
        for packet in reader.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                writer.mux(packet)
    for suffix, kept in (("mp4", True), ("mkv", True), ("mov", False)):
        said = []
        assert remux(tmp_path / "in.mp4", tmp_path / f"out.{suffix}", iter, said.append) == 10
        with av.open(str(tmp_path / f"out.{suffix}")) as reader:
            covers = [s for s in reader.streams.video if s.disposition & Disposition.attached_pic]
            assert bool(covers) == kept and len(reader.streams.video) == 1 + kept
        assert [("cover" in line) for line in said] == ([] if kept else [True])


def test_a_sound_file_with_a_cover_is_no_film(tmp_path):
    with av.open(str(tmp_path / "song.m4a"), "w", format="mp4") as writer:
        cover, sound = writer.add_stream("mjpeg", rate=1), writer.add_stream("aac", rate=RATE, layout="mono")
        cover.width = cover.height = 64
        cover.pix_fmt, cover.disposition = "yuvj420p", Disposition.attached_pic
        writer.mux(cover.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 99, np.uint8), format="rgb24")))
        beep(writer, sound, 0.0, Fraction(1), None)
    with pytest.raises(RunError, match="no video stream"):
        remux(tmp_path / "song.m4a", tmp_path / "out.mp4", iter)
    assert [p.name for p in tmp_path.iterdir()] == ["song.m4a"]


def test_a_film_that_changes_its_size_is_scaled_to_the_first(tmp_path):
    parts = [
        film(tmp_path / "a.ts", begin=1),
        film(tmp_path / "b.ts", begin=2, size=(64, 48)),
    ]
    (tmp_path / "in.ts").write_bytes(b"".join(p.read_bytes() for p in parts))
    said, sizes = [], set()

    def seen(frames):
        for frame in frames:
            sizes.add(frame.shape)
            yield frame

    assert remux(tmp_path / "in.ts", tmp_path / "out.mp4", seen, said.append) == 20
    assert sizes == {(24, 32, 3)} and len(said) == 1 and "64x48" in said[0]


def test_what_is_hidden_before_a_cut_is_not_heard_in_matroska(tmp_path):
    """An edit list hides what comes before a cut; Matroska has none."""
    source = film(tmp_path / "long.mp4", sounds=("aac",))
    with av.open(str(source)) as reader, av.open(str(tmp_path / "in.mp4"), "w") as writer:
        outs = {s.index: writer.add_stream_from_template(s) for s in reader.streams}
        for packet in reader.demux():
            if packet.dts is not None:
                shift = round(Fraction(4, 10) / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = outs[packet.stream.index]
                writer.mux(packet)
    for suffix in ("mp4", "mkv"):
        assert remux(tmp_path / "in.mp4", tmp_path / f"out.{suffix}", iter) == 6
        flash, beep = flash_and_beep(tmp_path / f"out.{suffix}")
        assert abs(flash - beep) < 0.005 and flash < 0.1 + 2048 / RATE


@pytest.mark.parametrize("size", [(48, 32), (33, 27)])
@pytest.mark.parametrize("rate, gap", [(Fraction(25), 1), (Fraction(30000, 1001), 1), (Fraction(24), 3)])
def test_times_size_and_sound_are_kept(tmp_path, size, rate, gap):
    source = moving_bar(tmp_path / "in.mp4", size=size, rate=rate, sound=True, gap=gap)
    for suffix in ("mp4", "mkv"):
        target = tmp_path / f"out.{suffix}"
        assert remux(source, target, lambda frames: iter(frames)) == 20
        assert len(facts(source)["sound"]) > 5
        check_kept(source, target)


@pytest.mark.parametrize(("suffix", "codec"), [("mkv", "libx264"), ("avi", "mpeg4")])
def test_a_file_whose_rest_is_missing_is_said_to_be_so(tmp_path, suffix, codec):
    whole, cut, said = tmp_path / f"a.{suffix}", tmp_path / f"cut.{suffix}", []
    with av.open(str(whole), "w") as writer:
        stream = writer.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        noise = np.random.default_rng(0).integers(0, 256, (30, 48, 64, 3), dtype=np.uint8)
        for image in noise:
            writer.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        writer.mux(stream.encode(None))
    assert remux(whole, tmp_path / "out.mp4", lambda frames: frames, said.append) == 30 and not said
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    count = remux(cut, tmp_path / "half.mp4", lambda frames: frames, said.append)
    assert 3 < count < 20 and len(said) == 1
    assert f"frames end at {count / 10:.2f} s instead of" in said[0] and "the rest of it is missing" in said[0]
    with av.open(str(tmp_path / "half.mp4")) as reader:
        assert reader.duration / av.time_base == pytest.approx(count / 10, abs=0.15)


def test_what_fails_leaves_nothing(tmp_path):
    source = moving_bar(tmp_path / "in.mp4")

    def interrupted(frames):
        for i, frame in enumerate(frames):
            if i == 10:
                raise KeyboardInterrupt
            yield frame

    with pytest.raises(KeyboardInterrupt):
        remux(source, tmp_path / "out.mp4", interrupted)
    (tmp_path / "noise.mp4").write_bytes(bytes(range(256)) * 40)
    with pytest.raises(RunError, match="noise.mp4"):
        remux(tmp_path / "noise.mp4", tmp_path / "out.mp4", lambda frames: iter(frames))
    with pytest.raises(UsageError, match=".mp4, .mov, .mkv"):
        remux(source, tmp_path / "out.gif", lambda frames: iter(frames))
    with pytest.raises(UsageError, match="replace the input"):
        remux(source, source, lambda frames: iter(frames))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "noise.mp4"]


REAL = [p for f in ("clips", "dyntex") for p in sorted((SHARED / "data" / f).glob("*.*")) if p.suffix != ".md"]


@pytest.mark.slow
@pytest.mark.parametrize("path", REAL, ids=lambda p: p.name)
def test_real_videos_keep_everything(path, tmp_path):
    target = tmp_path / "out.mp4"
    remux(path, target, lambda frames: iter(frames))
    check_kept(path, target)
