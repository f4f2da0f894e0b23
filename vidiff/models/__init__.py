"""One file per family; `module.py` holds what they share, `base.py` the adversarial step."""

from __future__ import annotations

import importlib
import pkgutil


def families() -> dict[str, type]:
    """Every family by its short name: whatever class in a file of this folder has losses. No list to maintain."""
    from vidiff.models.module import VideoModule

    for info in pkgutil.iter_modules(__path__):
        importlib.import_module(f"vidiff.models.{info.name}")
    found, queue = {}, [VideoModule]
    while queue:
        for sub in queue.pop().__subclasses__():
            queue.append(sub)
            has_losses = sub.generator_losses is not VideoModule.generator_losses
            if has_losses and sub.__module__.startswith("vidiff.models."):
                found[sub.__name__] = sub
    return found
