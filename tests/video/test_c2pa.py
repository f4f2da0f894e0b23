"""C2PA: a copy signed by one's own key verifies, a changed one does not; without the library that is said."""

from __future__ import annotations

import importlib.util

import pytest
from films import ramp

from vidiff.errors import RunError, UsageError
from vidiff.video import c2pa
from vidiff.video.provenance import Origin, finish, read_provenance
from vidiff.video.write import write_clip

INSTALLED = all(importlib.util.find_spec(name) for name in ("c2pa", "cryptography"))
needs_library = pytest.mark.skipif(not INSTALLED, reason="c2pa-python and cryptography are not installed")
ORIGIN = Origin("SomeModel")


@pytest.fixture
def made(tmp_path):
    write_clip(tmp_path / "a.mp4", ramp(4, 64, 64), comment=ORIGIN.comment())
    finish(tmp_path / "a.mp4", ORIGIN)
    return tmp_path / "a.mp4"


@needs_library
@pytest.mark.parametrize("suffix", [".mp4", ".png", ".gif"])
def test_a_signed_copy_verifies_and_keeps_its_words(tmp_path, suffix):
    key = c2pa.make_test_key(tmp_path / "keys")
    path, signed = tmp_path / f"a{suffix}", tmp_path / f"signed{suffix}"
    write_clip(path, ramp(4, 64, 64), comment=ORIGIN.comment())
    before = path.read_bytes()
    assert c2pa.sign(path, signed, *key) == signed and path.read_bytes() == before
    assert "Valid" in c2pa.read_manifest(signed) and "untrusted" in c2pa.read_manifest(signed)
    assert read_provenance(signed)["comment"] == ORIGIN.comment() and c2pa.read_manifest(path) is None
    content = bytearray(signed.read_bytes())
    content[-40 if suffix != ".mp4" else content.index(b"mdat") + 50] ^= 255
    signed.write_bytes(content)
    assert "Valid" not in (c2pa.read_manifest(signed) or "damaged")


@needs_library
def test_what_cannot_be_signed_leaves_nothing(made, tmp_path):
    key, certificate = c2pa.make_test_key(tmp_path / "keys")
    write_clip(tmp_path / "stranger.mp4", ramp(4, 64, 64))
    out = tmp_path / "out.mp4"
    for arguments, said in (
        ((made, tmp_path / "out.mkv", key, certificate), "keeps the suffix"),
        ((made, made, key, certificate), "would replace the input"),
        ((tmp_path / "stranger.mp4", out, key, certificate), "nothing says that this suite made it"),
        ((made, out, tmp_path / "gone.pem", certificate), "gone.pem: no such file"),
    ):
        with pytest.raises(UsageError, match=said):
            c2pa.sign(*arguments)
    with pytest.raises(RunError, match="could not be signed"):
        c2pa.sign(made, out, certificate, certificate)
    with pytest.raises(UsageError, match="exists already"):
        c2pa.make_test_key(tmp_path / "keys")
    assert not out.exists() and not list(tmp_path.glob(".vidiff*"))


def test_without_the_library_it_is_said_what_to_install(made, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"vidiff\[c2pa\]"):
        c2pa.sign(made, tmp_path / "out.mp4", "k", "c")
    assert c2pa.read_manifest(made) is None
