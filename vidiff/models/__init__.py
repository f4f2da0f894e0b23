"""One file per family; `base.py` holds the adversarial step they share."""

from __future__ import annotations

import importlib
import pkgutil


def families() -> dict[str, type]:
    """Every family by its short name: whatever class in a file of this folder has a game. No list to maintain."""
    from vidiff.models.base import AdversarialModule

    for info in pkgutil.iter_modules(__path__):
        importlib.import_module(f"vidiff.models.{info.name}")
    found, queue = {}, [AdversarialModule]
    while queue:
        for sub in queue.pop().__subclasses__():
            queue.append(sub)
            has_game = sub.discriminator_losses is not AdversarialModule.discriminator_losses
            if has_game and sub.__module__.startswith("vidiff.models."):
                found[sub.__name__] = sub
    return found
