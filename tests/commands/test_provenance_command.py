"""What the suite's own files say of themselves, from the commands that write them to the one that reads it back."""

from __future__ import annotations

import json

import pytest
from films import moving_bar
from helpers import TINY, quiet_trainer

from vidiff.cli import main
from vidiff.data.index import build_index
from vidiff.files import sha256_of
from vidiff.models.cyclegan import CycleGAN
from vidiff.models.dcgan import DCGAN
from vidiff.video.write import write_mp4


def checkpoint(folder, model):
    trainer = quiet_trainer(max_steps=1)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(folder / "best.ckpt")
    return folder / "best.ckpt"


def test_samples_say_what_made_them(tmp_path, capsys):
    ckpt = checkpoint(tmp_path, DCGAN(**TINY))
    words = ["sample", "--ckpt", str(ckpt), "--num_clips", "2", "--seed", "7", "--output", str(tmp_path / "s")]
    assert main([*words, "--formats", "mp4", "gif", "png", "npy"]) == 0
    files = sorted(p for p in (tmp_path / "s").iterdir() if p.suffix != ".json")
    assert len(files) == 6 and len(list((tmp_path / "s").iterdir())) == 12
    assert not build_index(tmp_path / "s").passed[1:]  # the sheet; sidecars are no strangers in a folder of videos
    capsys.readouterr()
    assert main(["provenance", *map(str, files), "--json"]) == 0
    for one in json.loads(capsys.readouterr().out):
        beside = one["sidecar"]
        assert one["agrees"] and one["marked"] is not one["file"].endswith("npy")
        assert beside["model"] == {"family": "DCGAN", "checkpoint": "best.ckpt", "sha256": sha256_of(ckpt)}
        assert beside["seed"] == 7 and beside["inputs"] == []
        assert beside["configuration"]["settings"]["init_args"]["width"] == TINY["width"]


def test_translations_say_what_they_were_made_of(tmp_path, capsys):
    ckpt = checkpoint(tmp_path, CycleGAN(pool_size=1, num_frames=4, resolution=16, width=4))
    source, out = moving_bar(tmp_path / "in.mp4", frames=5), tmp_path / "out.mp4"
    words = ["translate", "--ckpt", str(ckpt), "--input", str(source), "--output"]
    assert main([*words, str(out)]) == 0
    capsys.readouterr()
    assert main(["provenance", str(out)]) == 0
    said = capsys.readouterr().out
    assert "file and sidecar agree" in said and "compositeWithTrainedAlgorithmicMedia" in said and "CycleGAN" in said
    beside = json.loads((tmp_path / "out.mp4.provenance.json").read_text())
    assert beside["inputs"] == [{"name": "in.mp4", "sha256": sha256_of(source)}]
    assert main([*words[:4], str(out), "--output", str(tmp_path / "twice.mp4")]) == 0  # words of both are kept
    assert main(["provenance", str(tmp_path / "twice.mp4")]) == 0
    assert capsys.readouterr().out.count("AI generated with vidiff") == 2


def test_a_changed_file_ends_with_code_1_and_bad_requests_with_2(tmp_path, capsys):
    ckpt = checkpoint(tmp_path, DCGAN(**TINY))
    main(["sample", "--ckpt", str(ckpt), "--num_clips", "1", "--output", str(tmp_path)])
    path = tmp_path / "00000.mp4"
    write_mp4(path, (DCGAN(**TINY).sample(1)[0]))
    capsys.readouterr()
    assert main(["provenance", str(path)]) == 1
    assert "1 of 1 files do not agree" in capsys.readouterr().err
    (tmp_path / "notes.txt").write_text("words")
    for words, said in (
        ([], "which file?"),
        (["gone.mp4"], "gone.mp4: no such file"),
        ([str(tmp_path)], "a folder, not a file"),
        ([str(tmp_path / "notes.txt")], "neither a picture nor a video"),
        ([str(path), "--output", "x.mp4"], "to sign: one file"),
    ):
        assert main(["provenance", *words]) == 2
        err = capsys.readouterr().err
        assert said in err and "Traceback" not in err


@pytest.mark.parametrize("name", ["in.wav"])
def test_sound_alone_is_no_picture(tmp_path, capsys, name):
    import wave

    with wave.open(str(tmp_path / name), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"\0\0" * 800)
    assert main(["provenance", str(tmp_path / name)]) == 2
    assert "neither a picture nor a video" in capsys.readouterr().err
