"""What Lightning says to everybody, and what does not apply here, is not shown."""

from __future__ import annotations

import logging
import warnings

WARNINGS = (
    ".*does not have many workers.*",
    ".*module.s. in eval mode at the start of training.*",  # the moving average, on purpose
    ".*args parameter is intended to run from within Python.*",
    ".*LeafSpec.*is deprecated.*",
    ".*weights_only.*",
)
NOISE = ("Tip:", "available: False", "weights_only", "LOCAL_RANK", "Seed set to")


def quiet() -> None:
    """Silence `WARNINGS` and `NOISE` for the rest of this process."""
    for text in WARNINGS:
        warnings.filterwarnings("ignore", text)
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logger = logging.getLogger(name)
        for place in (logger, *logger.handlers):
            place.addFilter(_is_news)  # a second time changes nothing


def _is_news(record: logging.LogRecord) -> bool:
    return not any(text in record.getMessage() for text in NOISE)
