"""`vidiff edit`: what it writes and prints, and every wrong plan in one line, with nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from films import frames_of, moving_bar
from helpers import TINY, quiet_trainer
from makers import damage_middle, write_audio, write_noise

from vidiff.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A film of 20 frames, what is none, and checkpoints of three kinds."""
    from vidiff.models.cyclegan import CycleGAN
    from vidiff.models.dcgan import DCGAN
    from vidiff.models.restoration import Restoration

    folder = tmp_path_factory.mktemp("edit")
    moving_bar(folder / "in.mp4", frames=20, sound=True)
    (folder / "hidden").mkdir()
    write_audio(folder / "audio.mp4")
    (folder / "text.mp4").write_text("no video")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "cut.mp4").write_bytes((folder / "in.mp4").read_bytes()[:900])
    damage_middle(write_noise(folder / "damaged.mp4"))
    (folder / "look.txt").write_text("no picture")
    for name, model in {
        "restores": Restoration(**TINY),
        "translates": CycleGAN(pool_size=1, **TINY),
        "samples": DCGAN(**TINY),
    }.items():
        trainer = quiet_trainer(max_steps=1)
        trainer.strategy.connect(model)
        trainer.save_checkpoint(folder / f"{name}.ckpt")
    return folder


def segment(start, end, operation="keep", **options) -> dict:
    return {"start": start, "end": end, "operation": operation, **options}


def run(plan: object, *words: str) -> int:
    Path("plan.yaml").write_text(plan if isinstance(plan, str) else yaml.safe_dump(plan))
    return main(["edit", "plan.yaml", *words])


def test_the_command_edits_as_the_plan_says(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    segments = [
        segment(0, 6, "translate", ckpt="translates.ckpt", direction="b2a"),
        segment(6, 12, "speed", factor=0.5, fade=2),
        segment(12, 20, "restore", ckpt="restores.ckpt"),
    ]
    target = tmp_path / "out.mp4"
    assert run({"input": "in.mp4", "segments": segments}, "--output", str(target)) == 0
    assert capsys.readouterr().out == f"24 frames, 0.960 s, in {target}\n"
    assert len(frames_of(target)) == 24
    (folder / "plan.yaml").unlink()


WHOLE = [segment(0, 20)]
REFUSED = {  # name -> the plan or its segments, input, code, what is said
    "operation": ([segment(0, 20, "sharpn")], {}, 2, "segment 1: unknown operation 'sharpn'. Accepted: keep, drop,"),
    "near operation": ([segment(0, 20, "translat")], {}, 2, "Did you mean 'translate'?"),
    "key": ([segment(0, 20, "speed", factr=2)], {}, 2, "speed: unknown key 'factr'. Did you mean 'factor'?"),
    "key of the plan": ({"segment": WHOLE}, {}, 2, "unknown key 'segment'. Did you mean 'segments'?"),
    "missing key": ([segment(0, 20, "speed")], {}, 2, "segment 1: speed needs factor"),
    "no operation": ([{"start": 0, "end": 20}], {}, 2, "segment 1 has no operation"),
    "no end": ([{"start": 0, "operation": "keep"}], {}, 2, "segment 1 has no end"),
    "no segment": ({"segments": []}, {}, 2, "at least one segment"),
    "no mapping": ([7], {}, 2, "segment 1 must hold start, end and operation"),
    "a list": ("- 1\n- 2\n", {}, 2, "must hold a mapping"),
    "not yaml": ("segments: [", {}, 2, "not valid YAML"),
    "kind": ([segment(0, 20, "speed", factor="fast")], {}, 2, "factor must be a number, got 'fast'"),
    "nan": ([segment(0, 20, "speed", factor=float("nan"))], {}, 2, "factor must be a number"),
    "bool": ([segment(0, 20, "restore", ckpt="restores.ckpt", ema=1)], {}, 2, "ema must be true or false"),
    "choice": ([segment(0, 20, "stylize", style="s.png", method="slow")], {}, 2, "one of optimize, feedforward"),
    "place": ([segment("zero", 20)], {}, 2, "start must be a number of frames (48) or seconds (2.5s)"),
    "negative": ([segment(-1, 20)], {}, 2, "start must be a number of frames"),
    "range": ([segment(0, 20, "speed", factor=9)], {}, 2, "factor must be from 0.25 to 8, got 9"),
    "gamma": ([segment(0, 20, "color", gamma=0)], {}, 2, "segment 1: gamma must be above 0"),
    "gap": ([segment(0, 8), segment(10, 20)], {}, 2, "segment 2 starts at 10, the one before ends at 8; a gap"),
    "gap at the start": ([segment(3, 20)], {}, 2, "a gap: no segment has frames 0 to 3"),
    "gap at the end": ([segment(0, 18)], {}, 2, "ends at 18, the video has 20 frames"),
    "overlap": ([segment(0, 12), segment(10, 20)], {}, 2, "an overlap: another segment has frames 10 to 12"),
    "backwards": ([segment(0, 0), segment(0, 20)], {}, 2, "at or before its start"),
    "past the end": ([segment(0, 21)], {}, 2, "segment 1 ends at 21, past the end: the video has 20 frames"),
    "seconds past the end": ([segment(0, "3s")], {}, 2, "3s is past the end: the video ends at 0.800 s"),
    "fade at the start": ([segment(0, 20, fade=2)], {}, 2, "no segment before it to fade from"),
    "long fade": ([segment(0, 8), segment(8, 20, fade=9)], {}, 2, "fade 9 is too long"),
    "fade of a fade": ([segment(0, 8), segment(8, 14, fade=4), segment(14, 20, fade=3)], {}, 2, "fade 3 is too long"),
    "negative fade": ([segment(0, 8), segment(8, 20, fade=-1)], {}, 2, "fade must be at least 0"),
    "fade of nothing": ([segment(0, 8), segment(8, 20, "drop", fade=1)], {}, 2, "the segment is left out"),
    "all dropped": ([segment(0, 20, "drop")], {}, 2, "nothing would be left"),
    "sizes": ([segment(0, 8), segment(8, 20, "restore", ckpt="restores.ckpt", scale=2)], {}, 2, "1 times and 2 times"),
    "wrong kind": ([segment(0, 20, "translate", ckpt="samples.ckpt")], {}, 2, "DCGAN does not translate"),
    "wrong kind too": ([segment(0, 20, "restore", ckpt="translates.ckpt")], {}, 2, "CycleGAN does not restore"),
    "no checkpoint": ([segment(0, 20, "restore", ckpt="gone.ckpt")], {}, 2, "segment 1: checkpoint gone.ckpt does not"),
    "broken checkpoint": ([segment(0, 20, "restore", ckpt="text.mp4")], {}, 1, "text.mp4 is not a readable checkpoint"),
    "no model": ([segment(0, 20, "translate", ckpt="zoo:nothing")], {}, 2, "unknown model of the zoo 'nothing'"),
    "no style": ([segment(0, 20, "stylize", style="gone.png")], {}, 2, "style gone.png: no such file"),
    "no picture": ([segment(0, 20, "stylize", style="look.txt")], {}, 2, "neither a picture nor a video"),
    "direction": ([segment(0, 20, "translate", ckpt="translates.ckpt", direction="up")], {}, 2, "segment 1"),
    "input is output": (WHOLE, {"output": "in.mp4"}, 2, "would replace the input"),
    "checkpoint is output": (
        [segment(0, 20, "restore", ckpt="out.mp4")],
        {"make": "out.mp4"},
        2,
        "would replace out.mp4",
    ),
    "format": (WHOLE, {"output": "out.avi"}, 2, "accepted: .mp4, .mov, .mkv"),
    "no output": (WHOLE, {"output": None}, 2, "plan.yaml: no output: name it here, or as output: in the plan"),
    "no input": (WHOLE, {"input": None}, 2, "plan.yaml: no input"),
    "absent": (WHOLE, {"input": "absent.mp4"}, 2, "absent.mp4: no such file"),
    "folder": (WHOLE, {"input": "hidden"}, 2, "a folder, not a video"),
    "not a video": (WHOLE, {"input": "text.mp4"}, 2, "text.mp4 is not a video"),
    "empty": (WHOLE, {"input": "empty.mp4"}, 2, "empty.mp4 is not a video (empty)"),
    "audio only": (WHOLE, {"input": "audio.mp4"}, 1, "audio.mp4: it holds no video stream"),
    "damaged": (WHOLE, {"input": "damaged.mp4"}, 1, "damaged.mp4: damaged after"),
    "no frames": (WHOLE, {"input": "cut.mp4"}, 1, "cut.mp4"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_in_one_line(folder, monkeypatch, capsys, case):
    monkeypatch.chdir(folder)
    plan, given, code, said = REFUSED[case]
    plan = {"segments": plan} if isinstance(plan, list) else plan
    given = {"input": "in.mp4", "output": "out.mp4"} | given
    if made := given.pop("make", None):
        Path(made).write_bytes(b"a file")
    words = [word for name, value in given.items() if value for word in (f"--{name}", value)]
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and p.name != "plan.yaml"}
    assert run(plan, *words) == code
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1, error
    (folder / "plan.yaml").unlink()
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} == before
    assert not list((folder / "hidden").iterdir())
    if made:
        Path(made).unlink()


def test_a_plan_that_is_not_there(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["edit", "gone.yaml", "--input", "in.mp4", "--output", "out.mp4"]) == 2
    assert "plan gone.yaml: no such file" in capsys.readouterr().err
