"""What files say of their origin is read back as it was said, and a changed file is told from its sidecar."""

from __future__ import annotations

import hashlib
import json

import av
import numpy as np
import pytest
from films import moving_bar, ramp
from PIL import Image

from vidiff.errors import RunError, UsageError
from vidiff.video.provenance import ALTERED, MADE, Origin, finish, read_provenance, sidecar
from vidiff.video.write import write_clip, write_cutout, write_mp4

ORIGIN = Origin("SomeModel", "best.ckpt", "ab" * 32, {"width": 4, "b": 1}, seed=3)
CLIP = ramp(6, 64, 64)


def written(path, comment=""):
    if path.suffix == ".mov":
        write_cutout(path, np.concatenate([CLIP, CLIP[..., :1]], -1), comment=comment)
    else:
        write_clip(path, CLIP, comment=comment)
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.gif", "a.png", "a.npy"])
def test_file_and_sidecar_say_the_same(tmp_path, name):
    path = written(tmp_path / name, ORIGIN.comment())
    assert finish(path, ORIGIN) == tmp_path / f"{name}.provenance.json" == sidecar(path)
    found = read_provenance(path)
    assert found["agrees"] is True and "agree" in found["verdict"]
    assert found["comment"] == ("" if name == "a.npy" else ORIGIN.comment())
    beside = json.loads(sidecar(path).read_text())
    assert beside["media"] == {
        "name": name, "bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }  # fmt: skip
    assert beside["digitalSourceType"] == MADE and beside["seed"] == 3 and "AI generated" in beside["statement"]
    assert beside["model"] == {"family": "SomeModel", "checkpoint": "best.ckpt", "sha256": "ab" * 32}
    assert beside["configuration"] == {"sha256": ORIGIN.configuration, "settings": {"width": 4, "b": 1}}


def test_other_readers_find_the_words(tmp_path):
    for name in ("a.mp4", "a.mov"):
        with av.open(str(written(tmp_path / name, ORIGIN.comment()))) as container:
            assert container.metadata["comment"] == ORIGIN.comment()
    with Image.open(written(tmp_path / "a.png", ORIGIN.comment())) as image:
        assert image.text["Comment"] == ORIGIN.comment()
    with Image.open(written(tmp_path / "a.gif", ORIGIN.comment())) as image:
        assert image.info["comment"].decode() == ORIGIN.comment()


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.gif", "a.png"])
def test_the_same_clip_of_the_same_origin_gives_the_same_bytes(tmp_path, name):
    """No date is in the file; and without a comment it is what it was before there were any."""
    (tmp_path / "again").mkdir()
    a, b = (written(folder / name, ORIGIN.comment()).read_bytes() for folder in (tmp_path, tmp_path / "again"))
    assert a == b and ORIGIN.comment().encode()[:200] in a
    assert ORIGIN.comment().encode()[:20] not in written(tmp_path / name).read_bytes()


def test_the_words_depend_on_every_setting_and_not_on_their_order():
    assert Origin(settings={"a": 1, "b": 2}).configuration == Origin(settings={"b": 2, "a": 1}).configuration
    assert ORIGIN.having(width=5).configuration != ORIGIN.configuration == ORIGIN.having().configuration
    assert MADE in ORIGIN.comment() and ALTERED in ORIGIN.comment(altered=True)
    assert Origin().comment().startswith("AI generated with vidiff") and "model" not in Origin().comment()


def test_a_changed_file_no_longer_agrees(tmp_path):
    path = written(tmp_path / "a.mp4", ORIGIN.comment())
    finish(path, ORIGIN)
    write_mp4(path, CLIP[::-1], comment=ORIGIN.comment())
    found = read_provenance(path)
    assert found["agrees"] is False and "changed" in found["verdict"] and found["marked"]


def test_inputs_are_named_with_their_digests(tmp_path):
    source = moving_bar(tmp_path / "in.mp4", frames=3)
    frames = tmp_path / "frames"
    for i in range(2):
        (frames).mkdir(exist_ok=True)
        Image.fromarray(CLIP[i]).save(frames / f"{i}.png")
    path = written(tmp_path / "out.mp4")
    first = json.loads(finish(path, ORIGIN, [source, frames]).read_text())
    assert first["digitalSourceType"] == ALTERED and [i["name"] for i in first["inputs"]] == ["in.mp4", "frames"]
    assert first["inputs"][0]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    (frames / "no-picture.mp4").write_bytes(b"x")
    assert json.loads(finish(path, ORIGIN, [source, frames]).read_text())["inputs"] == first["inputs"]
    Image.fromarray(CLIP[3]).save(frames / "1.png")
    assert json.loads(finish(path, ORIGIN, [source, frames]).read_text())["inputs"][1] != first["inputs"][1]


def test_a_stranger_says_nothing_and_that_proves_nothing(tmp_path):
    found = read_provenance(moving_bar(tmp_path / "in.mp4", frames=3))
    assert not found["marked"] and found["agrees"] is None and "proves nothing" in found["verdict"]


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / "text.mp3x").write_text("words")
    for path, said in ((tmp_path, "a folder"), (tmp_path / "gone.mp4", "no such file")):
        with pytest.raises(UsageError, match=said):
            read_provenance(path)
    with pytest.raises(UsageError, match="neither a picture nor a video"):
        read_provenance(tmp_path / "text.mp3x")
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 20)
    with pytest.raises(RunError, match="cut.png: not a readable picture"):
        read_provenance(tmp_path / "cut.png")
    path = written(tmp_path / "a.png")
    for text in ("{", "[]", '{"media": 3}', "x" * 2**21, "[" * 100_000):
        sidecar(path).write_text(text)
        with pytest.raises(RunError, match="a.png.provenance.json is damaged"):
            read_provenance(path)
