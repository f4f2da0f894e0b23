"""`vidiff translate`: windows equal the whole, files keep their times, size and sound, and what can go wrong."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from helpers import SHARED, quiet_trainer

from vidiff.cli import main
from vidiff.clip import ClipSpec
from vidiff.errors import RunError, UsageError
from vidiff.inference.translate import frame_translator
from vidiff.inference.windows import joins, plan, through_windows
from vidiff.nn.resnet import ResnetGenerator, time_radius
from vidiff.video.remux import remux
from vidiff.video.write import write_mp4

TINY = dict(num_frames=4, resolution=16, width=4)


def numbers(count: int) -> list[torch.Tensor]:
    return [torch.full((1, 1, 1), float(i)) for i in range(count)]


@pytest.mark.parametrize("window, trim, fade", [(1, 0, 0), (5, 0, 0), (8, 0, 4), (9, 2, 3), (12, 3, 2)])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 16, 17, 40])
def test_every_frame_comes_out_once_in_order(window, trim, fade, count):
    sizes = []

    def network(clip):
        sizes.append(clip.shape[1])
        return clip

    out = list(through_windows(iter(numbers(count)), network, window, trim, fade))
    assert [round(float(x), 4) for x in out] == [float(i) for i in range(count)]
    assert all(s == min(window, count) for s in sizes)  # the last window is as long as the others


@pytest.mark.parametrize("conv", ["full", "factorized"])
@pytest.mark.parametrize("norm", ["none", "frame"])
def test_windows_equal_the_whole(conv, norm):
    spec = ClipSpec(num_frames=4, resolution=16, width=4)
    network = ResnetGenerator(spec, 1, conv, norm=norm)
    for p in network.parameters():
        torch.nn.init.normal_(p, 0.0, 0.15)
    window, trim, fade = plan(network, 4, None)
    assert trim == time_radius(network) == 4
    video = torch.rand(3, 2 * window + 5, 16, 20) * 2 - 1
    with torch.no_grad():
        whole = network(video[None])[0]
        parts = through_windows(video.unbind(1), lambda c: network(c[None])[0], window, trim, fade)
        difference = (torch.stack(list(parts), 1) - whole).abs().max()
        near = through_windows(video.unbind(1), lambda c: network(c[None])[0], window, 0, fade)
        wrong = (torch.stack(list(near), 1) - whole).abs().max()
    assert float(difference) < 1e-4 < 1e-3 < float(wrong)


def test_the_fade_rises_evenly():
    """Two windows that answer 0 and 1 meet in a ramp."""
    answers = iter([0.0, 1.0])
    out = list(through_windows(numbers(12), lambda c: torch.full_like(c, next(answers)), 8, 0, 4))
    assert [float(x) for x in out] == pytest.approx([0, 0, 0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1])


@pytest.mark.parametrize("window, trim, fade", [(5, 0, 0), (8, 0, 4), (9, 2, 3), (20, 8, 2), (16, 0, 8)])
@pytest.mark.parametrize("count", [1, 7, 9, 16, 17, 40])
def test_joins_are_where_another_window_answers(window, trim, fade, count):
    """Each window answers with its number: the output moves from a join that enters to the join that leaves."""
    calls = iter(range(100))
    answers = through_windows(numbers(count), lambda c: torch.full_like(c, float(next(calls))), window, trim, fade)
    out = torch.stack(list(answers)).flatten()
    moves = {int(t) + 1 for t in out.diff().nonzero()}
    at = joins(count, window, trim, fade)
    assert set(at) <= moves
    if fade < window - 2 * trim - fade:  # otherwise every frame is in a fade
        assert {t for t in moves if t - 1 not in moves} | {t for t in moves if t + 1 not in moves} == set(at)


def join_ratio(translated: np.ndarray, source: np.ndarray, at: list[int]) -> float:
    """How much more a video (T, H, W, C) moves at its joins than at its median frame, over the same of its source."""

    def ratio(video: np.ndarray) -> float:
        moves = np.array([np.abs(b.astype(int) - a).mean() for a, b in zip(video, video[1:])])
        return float(moves[np.array(at) - 1].mean() / np.median(moves))

    return ratio(translated) / ratio(source)


def test_a_seam_is_seen_by_the_join_ratio():
    source = (np.arange(40)[:, None, None, None] * 2 + np.zeros((1, 8, 8, 3))).astype(np.uint8)
    at = joins(40, 8, 0, 0)
    assert join_ratio(source, source, at) == pytest.approx(1.0)
    seams = source.copy()
    seams[8:16] += 20
    assert join_ratio(seams, source, at) > 2


def test_memory_is_a_window_and_a_step():
    read, ahead = 0, []

    def source():
        nonlocal read
        for frame in numbers(300):
            read += 1
            yield frame

    for done, _ in enumerate(through_windows(source(), lambda c: c, 16, 0, 8), 1):
        ahead.append(read - done)
    assert max(ahead) <= 16 + 8


def test_plans():
    spec = ClipSpec(num_frames=8, resolution=16, width=4)
    assert plan(ResnetGenerator(spec, 2), 8, None) == (16, 0, 8)
    window, trim, fade = plan(ResnetGenerator(spec, 2, norm="none"), 8, None)
    assert trim == 6 and window > 2 * trim + fade
    assert plan(ResnetGenerator(ClipSpec(num_frames=1, resolution=16, width=4), 1), 1, None) == (1, 0, 0)
    with pytest.raises(UsageError, match="more than 14"):
        plan(ResnetGenerator(spec, 2, norm="none"), 8, 10)


# ---- files


def make_video(
    path: Path, frames: int = 20, size=(48, 32), rate=Fraction(25), sound: bool = False, gap: int = 1
) -> Path:
    """A moving bar; with `gap` every second frame lasts longer; with sound a tone in AAC."""
    with av.open(str(path), "w") as writer:
        video = writer.add_stream("libx264", rate=rate)
        video.width, video.height = size
        video.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
        video.codec_context.time_base = 1 / rate
        audio = writer.add_stream("aac", rate=8000) if sound else None
        if audio is not None:
            audio.layout = "mono"
            n = int(8000 * frames / rate)
            tone = np.sin(np.arange(n) / 5).astype(np.float32)[None]
            for start in range(0, n - n % 1024, 1024):
                block = av.AudioFrame.from_ndarray(tone[:, start : start + 1024].copy(), format="fltp", layout="mono")
                block.sample_rate, block.pts, block.time_base = 8000, start, Fraction(1, 8000)
                writer.mux(audio.encode(block))
            writer.mux(audio.encode())
        pts = 0
        for i in range(frames):
            image = np.full((size[1], size[0], 3), 60, np.uint8)
            image[:, i : i + 6] = (200, 120, 40)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=video.pix_fmt)
            frame.pts, frame.time_base = pts, 1 / rate
            pts += gap if i % 2 else 1
            writer.mux(video.encode(frame))
        writer.mux(video.encode())
    return path


def facts(path: Path) -> dict:
    with av.open(str(path)) as reader:
        video = reader.streams.video[0]
        size, rate = (video.width, video.height), video.average_rate
        times = [float(f.pts * f.time_base) for f in reader.decode(video)]
    with av.open(str(path)) as reader:
        sound = [bytes(p) for p in reader.demux(*reader.streams.audio) if p.size] if reader.streams.audio else []
    return {"size": size, "fps": float(rate), "times": times, "sound": sound}


def check_kept(source: Path, target: Path) -> None:
    a, b = facts(source), facts(target)
    assert b["size"] == a["size"] and len(b["times"]) == len(a["times"]) and b["sound"] == a["sound"]
    assert b["fps"] == pytest.approx(a["fps"], rel=5e-2)  # with uneven times it hangs on how long the last frame lasts
    steps = np.diff(a["times"])
    if (steps <= 0).any():  # an avi without times of presentation: the frames are then spaced evenly
        steps = np.full(len(steps), 1 / a["fps"])
    assert np.diff(b["times"]) == pytest.approx(steps, abs=2e-3)


@pytest.mark.parametrize("size", [(48, 32), (33, 27)])
@pytest.mark.parametrize("rate, gap", [(Fraction(25), 1), (Fraction(30000, 1001), 1), (Fraction(24), 3)])
def test_times_size_and_sound_are_kept(tmp_path, size, rate, gap):
    source = make_video(tmp_path / "in.mp4", size=size, rate=rate, sound=True, gap=gap)
    for suffix in ("mp4", "mkv"):
        target = tmp_path / f"out.{suffix}"
        assert remux(source, target, lambda frames: iter(frames)) == 20
        assert len(facts(source)["sound"]) > 5
        check_kept(source, target)


def test_what_fails_leaves_nothing(tmp_path):
    source = make_video(tmp_path / "in.mp4")

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


# ---- the command


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, str]:
    from vidiff.models.cyclegan import CycleGAN
    from vidiff.models.dcgan import DCGAN
    from vidiff.models.stargan import StarGAN

    folder, out = tmp_path_factory.mktemp("checkpoints"), {}
    models = {
        "cyclegan": CycleGAN(pool_size=1, **TINY),
        "stargan": StarGAN(num_classes=3, **TINY),
        "dcgan": DCGAN(latent_dim=4, **TINY),
    }
    for name, model in models.items():
        counts = {"plain": 2, "night": 2, "sketch": 2}
        model.data_record = {"domains": {"train": dict(list(counts.items())[: getattr(model, "num_domains", 0)])}}
        trainer = quiet_trainer(max_steps=1)
        trainer.strategy.connect(model)
        trainer.save_checkpoint(folder / f"{name}.ckpt")
        out[name] = str(folder / f"{name}.ckpt")
    return out


def frames_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as reader:
        return np.stack([f.to_ndarray(format="rgb24") for f in reader.decode(video=0)])


def test_the_command_translates_a_file(checkpoints, tmp_path, capsys):
    source = make_video(tmp_path / "in.mp4", frames=37, size=(50, 34), sound=True)
    common = ["translate", "--ckpt", checkpoints["cyclegan"], "--input", str(source)]
    assert main([*common, "--output", str(tmp_path / "out.mp4")]) == 0
    assert "37 frames" in capsys.readouterr().out
    check_kept(source, tmp_path / "out.mp4")
    assert main([*common, "--output", str(tmp_path / "back.mp4"), "--direction", "b2a"]) == 0
    assert main([*common, "--output", str(tmp_path / "named.mp4"), "--target", "plain", "--no-ema"]) == 0
    out, back, named = (frames_of(tmp_path / f"{n}.mp4") for n in ("out", "back", "named"))
    assert np.abs(out.astype(int) - back).mean() > 0.5 and np.abs(named.astype(int) - back).mean() < 0.2
    assert main([*common, "--output", str(tmp_path / "both.mp4"), "--compare", "--resolution", "16"]) == 0
    both = frames_of(tmp_path / "both.mp4")
    assert both.shape == (37, 34, 100, 3)
    assert np.abs(both[:, :, :48].astype(int) - frames_of(source)[:, :, :48]).mean() < 6  # each beside its own


def test_tiles_give_what_the_whole_frame_gives():
    """A generator without global statistics: in tiles and in windows as at once, at a size that is no multiple of 4."""
    from vidiff.models.cyclegan import CycleGAN

    model = CycleGAN(generator=lambda spec: ResnetGenerator(spec, 1, norm="none"), pool_size=1, **TINY)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for p in model.generator_ema.module.parameters():
            torch.nn.init.normal_(p, 0.0, 0.15)
    video = np.random.default_rng(0).integers(0, 256, (5, 70, 101, 3), dtype=np.uint8)
    out = []
    for tile in (None, 64):
        out.append(np.stack(list(frame_translator(model, 0, 1, tile=tile)(video))).astype(int))
    assert out[0].std() > 20 and np.abs(out[0] - out[1]).max() <= 1


def test_tiles_of_a_network_with_statistics_are_faded_and_this_is_said(checkpoints, tmp_path, capsys):
    source = make_video(tmp_path / "in.mp4", frames=5, size=(100, 52))
    common = ["translate", "--ckpt", checkpoints["cyclegan"], "--input", str(source)]
    assert main([*common, "--output", str(tmp_path / "out.mp4"), "--tile", "32"]) == 0
    assert capsys.readouterr().err.count("cross-faded") == 1
    check_kept(source, tmp_path / "out.mp4")
    assert main([*common, "--output", str(tmp_path / "no.mp4"), "--tile", "8"]) == 2
    assert "tile must be at least 16" in capsys.readouterr().err


def test_the_command_translates_a_folder_and_reports_what_failed(checkpoints, tmp_path, capsys):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    make_video(tmp_path / "in" / "a.mp4")
    make_video(tmp_path / "in" / "a.mkv")
    make_video(tmp_path / "in" / "deep" / "b.mp4", frames=3)
    (tmp_path / "in" / "broken.avi").write_bytes(b"no video" * 100)
    command = ["translate", "--ckpt", checkpoints["stargan"], "--input", str(tmp_path / "in"), "--target", "night"]
    assert main([*command, "--output", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "1 of 4" in said and "broken.avi" in said
    found = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert found == {"a.mp4.mp4", "a.mkv.mp4", "deep/b.mp4"}


@pytest.mark.parametrize(
    "model, arguments, named",
    [
        ("cyclegan", ["--direction", "a2c"], "a2b, b2a"),
        ("cyclegan", ["--target", "dawn"], "plain, night"),
        ("cyclegan", ["--target", "0", "--direction", "a2b"], "not both"),
        ("cyclegan", ["--window", "0"], "window must be at least 1"),
        ("cyclegan", ["--output", "x.gif"], ".mp4, .mov, .mkv"),
        ("cyclegan", ["--input", "gone.mp4"], "gone.mp4"),
        ("stargan", [], "target is needed"),
        ("stargan", ["--target", "3"], "plain, night, sketch"),
        ("dcgan", [], "does not translate"),
    ],
)
def test_usage_errors(checkpoints, tmp_path, monkeypatch, capsys, model, arguments, named):
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "in.mp4", frames=2)
    common = ["translate", "--ckpt", checkpoints[model], "--input", "in.mp4", "--output", "out.mp4"]
    assert main([*common, *arguments]) == 2
    said = capsys.readouterr().err
    assert named in said and "Traceback" not in said
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(checkpoints, tmp_path):
    """Ten times the frames, at most a tenth more memory."""
    code = (
        "import resource, sys, torch\nfrom vidiff.cli import main\ntorch.set_num_threads(1)\n"
        "assert main(sys.argv[1:]) == 0\nprint('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    clip = (torch.rand(3, 600, 64, 64) * 255).to(torch.uint8)
    peaks = []
    for name, frames in (("short", 60), ("long", 600)):
        write_mp4(tmp_path / f"{name}.mp4", clip[:, :frames])
        command = ["translate", "--ckpt", checkpoints["cyclegan"], "--input", str(tmp_path / f"{name}.mp4")]
        command += ["--output", str(tmp_path / f"{name}-out.mp4")]
        done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        peaks.append(int(done.stdout.split("PEAK")[1]))
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.slow
@pytest.mark.parametrize("path", [p for p in REAL if p.suffix == ".mp4"][:3], ids=lambda p: p.name)
def test_windows_of_real_videos_leave_no_seams(checkpoints, path, tmp_path):
    """Everything is kept, and the frame difference where windows meet is at most 1.2 times what the source has."""
    from vidiff.inference.checkpoint import load_model

    command = ["translate", "--ckpt", checkpoints["cyclegan"], "--input", str(path), "--resolution", "64"]
    assert main([*command, "--output", str(tmp_path / "out.mp4")]) == 0
    check_kept(path, tmp_path / "out.mp4")
    model = load_model(checkpoints["cyclegan"])
    out, source = frames_of(tmp_path / "out.mp4"), frames_of(path)
    at = joins(len(out), *plan(model.network(0, 1), model.spec.num_frames, None))
    assert not at or join_ratio(out, source, at) < 1.2
