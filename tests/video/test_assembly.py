"""Parts of a film joined: exactly these frames, at these times, with the sound of each; and a film cut into files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from films import TONES, facts, film, frames_of, heard, moving_bar, toned
from makers import number_of

from vidiff.errors import RunError
from vidiff.video.assembly import assemble, cut, mixed, retimed
from vidiff.video.segments import read_clock
from vidiff.video.timeline import Part


def joined(source: Path, target: Path, *parts: Part, changes=None):
    said: list[str] = []
    clock = read_clock(source, said.append)
    line = assemble(source, target, clock, parts, changes or [iter] * len(parts), said.append)
    return line, said


def check_sound(path: Path, *expected: tuple[float, float, float]) -> None:
    """(from, to, tone) in seconds and Hz; 0.1 s at either end of each may be of the next."""
    tones = [tone for tone, _ in heard(path)]
    for begin, end, tone in expected:
        inside = tones[round((begin + 0.1) / 0.05) : round((end - 0.1) / 0.05)]
        assert inside and np.abs(np.array(inside) - tone).max() < 15, (begin, end, tone, inside)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """72 numbered frames, 24 a second, a tone in each third."""
    return toned(tmp_path_factory.mktemp("toned") / "in.mp4")


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_three_segments_give_their_frames_and_their_sound(source, tmp_path, suffix):
    target = tmp_path / f"out.{suffix}"
    line, said = joined(source, target, Part(0, 24, 24), Part(24, 48, 12), Part(48, 72, 48))
    assert line.num_frames == 84 and not said
    numbers = [number_of(frame) for frame in frames_of(target)]
    expected = [*range(24), *range(25, 48, 2), *(48 + (2 * k + 1) // 4 for k in range(48))]
    assert numbers == expected
    found = facts(target)
    assert found["fps"] == 24 and found["times"] == pytest.approx([k / 24 for k in range(84)], abs=1e-3)
    check_sound(target, (0, 1, TONES[0]), (1, 1.5, TONES[1]), (1.5, 3.5, TONES[2]))
    with av.open(str(target)) as reader:
        assert reader.duration / 1e6 == pytest.approx(3.5, abs=0.025)


def test_cross_fades_share_frames_and_mix_sound(source, tmp_path):
    target = tmp_path / "out.mp4"
    line, _ = joined(source, target, Part(0, 24, 24), Part(24, 48, 24, fade=12), Part(48, 72, 24, fade=6))
    before, after = frames_of(source).astype(float), frames_of(target)
    assert line.num_frames == len(after) == 54 and facts(target)["fps"] == 24
    for j in range(12):
        weight = (j + 1) / 13
        assert np.abs(after[12 + j] - ((1 - weight) * before[12 + j] + weight * before[24 + j])).mean() < 2
    assert [number_of(frame) for frame in after[24:30]] == list(range(36, 42))
    check_sound(target, (0, 0.5, TONES[0]), (1.0, 1.25, TONES[1]), (1.5, 2.25, TONES[2]))
    quarter = [loud for _, loud in heard(target)][15]  # at 0.75 s both tones are at half their loudness
    assert quarter == pytest.approx(0.3 / 2, rel=0.15)


def test_what_is_left_out_is_not_heard(source, tmp_path):
    line, _ = joined(source, tmp_path / "out.mp4", Part(0, 24, 0), Part(24, 48, 24), Part(48, 72, 0))
    assert [number_of(frame) for frame in frames_of(tmp_path / "out.mp4")] == list(range(24, 48))
    check_sound(tmp_path / "out.mp4", (0, 1, TONES[1]))


def test_where_nothing_is_moved_sound_is_copied(source, tmp_path):
    def darker(frames):
        return (frame // 2 for frame in frames)

    joined(source, tmp_path / "out.mp4", Part(0, 30, 30), Part(30, 72, 42), changes=[iter, darker])
    assert facts(tmp_path / "out.mp4")["sound"] == facts(source)["sound"]
    after = frames_of(tmp_path / "out.mp4")
    assert after[29].max() > 200 and after[30].max() < 130


def test_every_track_and_its_language_is_kept_and_subtitles_are_not(tmp_path):
    source = film(tmp_path / "in.mkv", sounds=("pcm_s16le", "aac"), frames=20)  # turns bright and loud at 0.5 s
    _, said = joined(source, tmp_path / "out.mkv", Part(0, 10, 5), Part(10, 20, 10))
    assert not said
    with av.open(str(tmp_path / "out.mkv")) as reader:
        assert [s.language for s in reader.streams.audio] == ["deu", "fra"]
    for track in (0, 1):
        with av.open(str(tmp_path / "out.mkv")) as reader:
            wave = np.concatenate([f.to_ndarray()[0] for f in reader.decode(audio=track)])
        assert np.argmax(np.abs(wave) > 0.2) / 16000 == pytest.approx(0.25, abs=0.03)
        assert len(wave) / 16000 == pytest.approx(1.5, abs=0.07)


def test_a_cover_stays_where_sound_is_cut(source, tmp_path):
    with av.open(str(source)) as reader, av.open(str(tmp_path / "in.mp4"), "w") as writer:
        outs = {s.index: writer.add_stream_from_template(s) for s in reader.streams}
        cover = writer.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 64, 64, "yuvj420p", Disposition.attached_pic
        writer.mux(cover.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 99, np.uint8), format="rgb24")))
        for packet in reader.demux():
            if packet.dts is not None:
                packet.stream = outs[packet.stream.index]
                writer.mux(packet)
    _, said = joined(tmp_path / "in.mp4", tmp_path / "out.mp4", Part(0, 24, 0), Part(24, 72, 24))
    with av.open(str(tmp_path / "out.mp4")) as reader:
        assert [bool(s.disposition & Disposition.attached_pic) for s in reader.streams.video] == [False, True]
    assert not said and len(frames_of(tmp_path / "out.mp4")) == 24


def test_uneven_times_and_a_late_picture_stay_in_step(tmp_path):
    source = film(tmp_path / "in.mkv", sounds=("pcm_s16le",), frames=20, lasts=(10, 20, 5, 10, 30, 10))
    clock = read_clock(source, print)
    joined(source, tmp_path / "out.mkv", Part(0, 8, 8), Part(8, 20, 6))
    flash = facts(tmp_path / "out.mkv")["times"][5]
    assert flash == pytest.approx(float(clock.seconds(5)), abs=0.002)
    with av.open(str(tmp_path / "out.mkv")) as reader:
        wave = np.concatenate([f.to_ndarray()[0] for f in reader.decode(audio=0)])
    assert np.argmax(np.abs(wave) > 0.2) / 16000 == pytest.approx(flash, abs=0.005)


def test_memory_holds_the_faded_frames_alone(tmp_path):
    """Of each part no frame is asked for before those in front of it are written, but for what is cross-faded."""
    source = moving_bar(tmp_path / "in.mp4", frames=30)
    events: list[str] = []

    def told(name):
        def change(frames):
            for frame in frames:
                events.append(name)
                yield frame

        return change

    from vidiff.video.assembly import Assembly
    from vidiff.video.remux import open_film
    from vidiff.video.timeline import Timeline

    parts = [Part(0, 15, 15), Part(15, 30, 15, fade=4)]
    with open_film(source, print) as opened:
        assembly = Assembly(opened, Timeline(read_clock(source, print), parts), [told("a"), told("b")])
        for number, _ in enumerate(assembly.frames(opened.frames()), 1):
            ahead = len(events) - number
            assert ahead == (0 if number <= 11 else 4)


def test_a_film_is_cut_into_files(source, tmp_path):
    clock = read_clock(source, print)
    cut(source, tmp_path / "cuts", clock, clock.segments([0, 24, 60]), print)
    paths = sorted((tmp_path / "cuts").iterdir())
    assert [p.name for p in paths] == ["in-001.mp4", "in-002.mp4", "in-003.mp4"]
    numbers = [[number_of(frame) for frame in frames_of(p)] for p in paths]
    assert numbers == [list(range(24)), list(range(24, 60)), list(range(60, 72))]
    assert all(facts(p)["times"][0] == 0 and facts(p)["fps"] == 24 for p in paths)
    check_sound(paths[0], (0, 1, TONES[0]))
    check_sound(paths[1], (0, 1, TONES[1]), (1, 1.5, TONES[2]))
    with av.open(str(paths[1])) as reader:
        assert reader.duration / 1e6 == pytest.approx(1.5, abs=0.025)


@pytest.mark.parametrize(("number", "count"), [(10, 5), (10, 20), (7, 3), (1, 4), (9, 1)])
def test_frames_are_taken_evenly(number, count):
    taken = [int(f) for f in retimed(iter(np.arange(number)), number, count)]
    assert taken == [int(Fraction(2 * k + 1, 2) * number / count) for k in range(count)]
    assert taken == sorted(taken)


def test_a_mix_is_rounded_to_nearest():
    a, b = np.full((2, 2, 3), 10, np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert mixed(a, b, 0.5)[0, 0, 0] == 133 and mixed(a, b, 0.0)[0, 0, 0] == 10 and mixed(a, b, 1.0)[0, 0, 0] == 255


def test_a_change_that_loses_frames_is_an_error_and_leaves_nothing(source, tmp_path):
    with pytest.raises(RunError, match="23 frames, not 24"):
        joined(
            source, tmp_path / "o" / "out.mp4", Part(0, 24, 24), Part(24, 72, 48), changes=[lambda f: list(f)[1:], iter]
        )
    assert not list((tmp_path / "o").glob("*"))
