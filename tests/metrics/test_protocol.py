"""Metric names: what each promises, near misses, lists."""

from __future__ import annotations

import pytest

from vidiff.errors import UsageError
from vidiff.metrics import parse_name
from vidiff.metrics.protocol import ACCEPTED, expand


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("fvd2048_16f", ("frechet", "i3d", 0, 2048, 16, None, True)),
        ("fvd256_8f@sgv", ("frechet", "i3d", 0, 256, 8, "prefix", True)),
        ("kvd2048_16f", ("kernel", "i3d", None, 2048, 16, None, True)),
        ("fid", ("frechet", "inception_clean", 1, None, None, None, True)),
        ("fid_legacy", ("frechet", "inception_legacy", 1, None, None, None, True)),
        ("clip_distance", ("blocks", "clip_statistics", 1, None, None, None, False)),
        ("fvd_random", ("frechet", "rand3d", 1, None, None, None, False)),
        ("fd_lite0", ("frechet", "lite0", 1, None, None, None, False)),
        ("coverage_random", ("coverage", "rand3d", None, None, None, None, False)),
    ],
)
def test_names_are_protocols(name, want):
    n = parse_name(name)
    assert (n.score, n.extractor, n.ddof, n.n, n.num_frames, n.subset, n.official) == want


@pytest.mark.parametrize(
    ("name", "hint"),
    [("fvd", "fvd2048_16f"), ("fvd_randm", "fvd_random"), ("fvd2048", "fvd2048_16f"), ("fvd0_16f", "fvd2048")],
)
def test_unknown_names_suggest(name, hint):
    with pytest.raises(UsageError, match=f"unknown metric '{name}'.*Did you mean '({hint})") as info:
        parse_name(name)
    assert all(a.split(" ")[0] in str(info.value) for a in ACCEPTED)


def test_lists_of_names():
    assert expand(" motion, fvd_random,motion") == ["motion", "fvd_random"]
    assert expand(["prdc_random"]) == ["precision_random", "recall_random", "density_random", "coverage_random"]
    with pytest.raises(UsageError, match="no metric"):
        expand(" , ")
