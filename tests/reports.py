"""Reports of runs that were never run, and rows of results without any run."""

from __future__ import annotations

import copy
import json

from vidiff.metrics.protocol import protocol_hash

REPORT = {
    "metrics": {
        "fvd_random": {"value": 0.5, "floor": 0.01, "protocol": {"metric": "fvd_random", "n_fake": 256}},
        "motion": {"value": 1.1, "floor": 1.0, "protocol": {"metric": "motion", "n_fake": 256}},
    },
    "controls": {
        "untrained": {"fvd_random": 20.0, "motion": 0.1},
        "grey_noise": {"fvd_random": 30.0, "motion": 9.0},
        "mean_frame_frozen": {"fvd_random": 2.0, "motion": 0.0},
        "one_clip_repeated": {"fvd_random": 3.0, "motion": 1.0},
        "frames_frozen": {"fvd_random": 0.15, "motion": 0.0},
        "real_held_out": {"fvd_random": 0.3, "motion": 1.0},
    },
    "config_hash": "0123456789abcdef",
    "cpu_seconds": 100.0,
    "steps": 50,
    "clips_seen": 400,
    "parameters": {"g": 1000, "d": 900},
}


def write(folder, **changes):
    report = copy.deepcopy(REPORT)
    report["metrics"]["fvd_random"]["value"] = changes.get("value", 0.5)
    report["metrics"]["fvd_random"]["protocol"]["n_fake"] = changes.get("n_fake", 256)
    report["controls"]["untrained"]["fvd_random"] = changes.get("untrained", 20.0)
    report["config_hash"] = changes.get("config_hash", report["config_hash"])
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(report))
    return folder


def row(family, seed, value, metric="fvd_random", **changes):
    """A row of results."""
    protocol = {"metric": metric, "n_fake": 256} | changes.pop("protocol", {})
    made = {
        "benchmark": "made up",
        "run": f"{family}-seed{seed}",
        "family": family,
        "data_set": "shapes",
        "data": "videos",
        "seed": seed,
        "metric": metric,
        "value": value,
        "floor": 0.01,
        "se": 0.02,
        "controls": {"grey_noise": 30.0, "frames_frozen": 0.15},
        "protocol": protocol,
        "protocol_hash": protocol_hash(protocol),
        "config_hash": f"hash of {family}",
        "git_commit": "0123456789abcdef",
        "hardware": {"cpu": "a processor", "gpu": None, "machine": "x86_64", "threads": 1},
        "versions": {"torch": "2"},
        "date": "2026-01-01",
        "cost": {"cpu_seconds": 100.0, "gpu_seconds": 0.0, "clips_seen": 4000, "sampling_s_per_clip": 0.004,
                 "peak_memory_mb": 512.0, "parameters": {"g": 1000, "d": 900}},
    }  # fmt: skip
    return made | changes
