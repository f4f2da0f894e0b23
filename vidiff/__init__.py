"""vidiff: train, measure, compare and use adversarial video models."""

import importlib

__version__ = "0.1.0"
_HOME = {  # looked up when they are asked for, so that `import vidiff` stays free of torch
    "build_match_index": "vidiff.inference.match",
    "detect": "vidiff.inference.detect",
    "compare_folders": "vidiff.inference.compare",
    "embed_watermark": "vidiff.inference.watermark",
    "edit": "vidiff.inference.edit",
    "export": "vidiff.inference.export",
    "find_matches": "vidiff.inference.match",
    "interpolate_to": "vidiff.inference.interpolate",
    "load_model": "vidiff.inference.checkpoint",
    "overlay": "vidiff.inference.overlay",
    "read_provenance": "vidiff.video.provenance",
    "read_watermark": "vidiff.inference.watermark",
    "restore": "vidiff.inference.restore",
    "sample_to": "vidiff.inference.sample",
    "segment": "vidiff.inference.segment",
    "stylize": "vidiff.inference.stylize",
    "translate_video": "vidiff.inference.translate",
    "video_style_transfer": "vidiff.inference.stylize",
}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'vidiff' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
