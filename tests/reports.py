"""Reports of runs that were never run."""

from __future__ import annotations

import copy
import json

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
