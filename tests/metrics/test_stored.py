"""What is kept on disk: found again by what it depends on, damaged files computed again."""

from __future__ import annotations

import torch

from vidiff.files import TEMPORARY
from vidiff.metrics.classifier import DomainClassifier
from vidiff.metrics.stored import content_key, load_features, load_or_train, save_features


def test_cache_round_trip(tmp_path):
    ids, rows = torch.arange(3), torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    path = save_features(tmp_path, {"a": 1, "b": None}, ids, rows, (4, 16, 16))
    assert path.stem == content_key({"b": None, "a": 1})
    got = load_features(tmp_path, {"b": None, "a": 1})
    assert torch.equal(got[0], ids) and torch.equal(got[1], rows) and got[2] == (4, 16, 16)
    assert load_features(tmp_path, {"a": 2, "b": None}) is None
    path.rename(tmp_path / f"{content_key({'a': 2})}.npz")  # a header that does not fit its name
    assert load_features(tmp_path, {"a": 2}) is None


def test_judges_are_trained_once(tmp_path):
    trained = []

    def train():
        trained.append(1)
        with torch.no_grad():
            network = DomainClassifier(2)
            network.head.bias.fill_(float(len(trained)))
        return network

    call = lambda header: load_or_train(tmp_path, header, lambda: DomainClassifier(2), train)  # noqa: E731
    first, second, other = call({"data": "x"}), call({"data": "x"}), call({"data": "y"})
    assert len(trained) == 2
    assert torch.equal(first.head.weight, second.head.weight) and other.head.bias[0].item() == 2.0
    next(tmp_path.glob("*.pt")).write_bytes(b"damaged")
    call({"data": "x"}), call({"data": "y"})
    assert len(trained) == 3 and not [p for p in tmp_path.iterdir() if TEMPORARY.fullmatch(p.name)]
