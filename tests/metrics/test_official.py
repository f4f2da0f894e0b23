"""Official metrics with stand-in files of the same signature: hashes, shapes, ranges, resize rules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stand_ins import StandIn, digest, known, put_i3d
from torch import Tensor, nn

from vidiff.errors import UsageError
from vidiff.keyed import forked
from vidiff.metrics import Evaluator, resolve_metrics
from vidiff.metrics.official import I3D, Inception
from vidiff.pretrained.inception import fidelity_available
from vidiff.pretrained.weights import MANIFEST

needs_fidelity = pytest.mark.skipif(not fidelity_available(), reason="torch-fidelity is not installed")


class OtherSignature(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean([1, 2, 3, 4])[:, None].expand(-1, 400)


@pytest.fixture(autouse=True)
def no_other_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VIDIFF_WEIGHTS_DIR", raising=False)


def clips(n, seed, frames=16):
    return torch.randint(
        0, 256, (n, 3, frames, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def test_i3d_through_its_published_call(tmp_path):
    path = put_i3d(tmp_path / "w")
    net = I3D(path, known(path))
    assert (net.dim, net.official, net.sha256, net.trust) == (400, True, digest(path), "manifest")
    x = clips(2, 0)
    torch.testing.assert_close(net(x), StandIn()(x.float(), True, True, True))
    assert len(net.fingerprint()) == 16
    with pytest.raises(ValueError, match="uint8"):
        net(x.float())


@pytest.mark.parametrize(
    ("module", "text"), [(StandIn(1024), r"\(N, 400\), got \(1, 1024\)"), (OtherSignature(), "not the I3D")]
)
def test_another_network_is_refused(tmp_path, module, text):
    path = put_i3d(tmp_path / "w", module)
    with pytest.raises(UsageError, match=text):
        I3D(path, known(path))


def test_another_hash_is_refused_before_loading(tmp_path):
    path = put_i3d(tmp_path / "w")
    with pytest.raises(UsageError, match=f"{digest(path)} is not the manifest's"):
        I3D(path)
    path.write_bytes(b"print('code')")
    with pytest.raises(UsageError, match="not a TorchScript file"):
        I3D(path, known(path))


def test_official_value_through_the_evaluator(tmp_path):
    path = put_i3d(tmp_path / "w")
    manifest = {**MANIFEST, "i3d": known(path)}
    real, fake = clips(10, 1), clips(8, 2)

    def run(name, fields=None, generated=fake):
        metrics = resolve_metrics([name], weights=path, manifest=manifest)
        evaluator = Evaluator(metrics, lambda: [(range(10), real)], fields=fields)
        return evaluator.evaluate([(range(len(generated)), generated)])[name]

    r = run("fvd8_16f")
    x, y = (StandIn()(c.float(), True, True, True).double().numpy() for c in (real, fake))
    root = np.linalg.svd(
        (x - x.mean(0)) @ (y - y.mean(0)).T / np.sqrt(80), compute_uv=False
    ).sum()  # ddof 0, from the samples
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + x.var(0).sum() + y.var(0).sum() - 2 * root
    assert r["value"] == pytest.approx(expected, rel=1e-4)
    assert r["official"] and r["low_n"] and r["protocol"]["ddof"] == 0
    assert r["protocol"]["sha256"] == digest(path) and r["protocol"]["trust"] == "manifest"
    assert len(r["protocol"]["fingerprint"]) == 16
    with pytest.raises(UsageError, match="defined on 2048 generated clips, got 8"):
        run("fvd2048_16f")
    with pytest.raises(UsageError, match="clips of 8 frames, got 16"):
        run("fvd8_8f")
    with pytest.raises(UsageError, match="subset='prefix'"):
        run("fvd8_16f@sgv")
    with pytest.raises(UsageError, match="fvd8_16f@sgv"):
        run("fvd8_16f", {"subset": "prefix"})
    assert run("fvd8_16f@sgv", {"subset": "prefix"})["hash"] != r["hash"]


@needs_fidelity
def test_inception_rules(tmp_path, monkeypatch):
    """Random weights in the published architecture: both resize rules against independent references."""
    from PIL import Image
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # The constructor insists on a file: the parameters that it has just drawn are written to one.
    path = tmp_path / "weights-inception-2015-12-05-6726825d.pth"
    torch.save({}, path)
    with monkeypatch.context() as patched, forked("stand-in"):
        patched.setattr(nn.Module, "load_state_dict", lambda self, state: torch.save(self.state_dict(), path))
        reference = FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=str(path))
    entry = known(path, "inception")
    state = torch.get_rng_state()
    clean = Inception("clean", path, entry)
    assert torch.equal(torch.get_rng_state(), state)
    x = clips(1, 4, frames=4)
    frames = x[0].transpose(0, 1).contiguous()  # (T, C, H, W)
    clean.rule = "legacy"  # the same trunk; building a second one takes seconds
    out = clean(x)
    clean.rule = "clean"
    assert out.shape == (4, 2048)
    torch.testing.assert_close(out, reference(frames)[0], rtol=1e-5, atol=1e-6)
    for size in (16, 400):  # up and down
        x = clips(1, 5, frames=4) if size == 16 else torch.nn.functional.interpolate(x[0].float(), size).byte()[None]
        frame = x[0, :, 2].numpy()
        pil = [Image.fromarray(c.astype(np.float32)).resize((299, 299), Image.BICUBIC) for c in frame]
        resized = torch.from_numpy(np.stack([np.asarray(c) for c in pil])).clamp(0, 255)
        with torch.no_grad():
            expected = clean.trunk((resized[None] - 128) / 128).flatten(1)
        torch.testing.assert_close(clean(x)[2:3], expected, rtol=1e-3, atol=1e-4)
    path.write_bytes(b"no weights")
    with pytest.raises(UsageError, match="not the Inception weights"):
        Inception("clean", path, known(path, "inception"))
