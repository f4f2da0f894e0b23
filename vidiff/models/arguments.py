"""What a model was built with, as plain values that a checkpoint may hold."""

from __future__ import annotations

import inspect
from dataclasses import asdict, is_dataclass
from typing import Any

from torch import nn


def constructor_arguments(module: nn.Module) -> dict[str, Any]:
    """The arguments of the `__init__`s that are building `module`, read off the call stack.

    What is only a default of the code (a network factory, say) is left out: the class brings it again.
    """
    frame, found = inspect.currentframe().f_back, {}
    while frame is not None and frame.f_code.co_name == "__init__" and frame.f_locals.get("self") is module:
        code, values = frame.f_code, frame.f_locals
        names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
        found |= {name: values[name] for name in names}
        frame = frame.f_back
    signatures = [inspect.signature(c.__init__) for c in type(module).__mro__ if "__init__" in vars(c)]
    defaults = [p.default for s in signatures for p in s.parameters.values()]
    found = {k: asdict(v) if is_dataclass(v) else v for k, v in found.items()}
    return {k: v for k, v in found.items() if is_plain(v) or not any(v is d for d in defaults)}


def is_plain(value: Any, depth: int = 32) -> bool:
    """Whether a value is made of what `torch.load(weights_only=True)` accepts and YAML can say, `depth` levels deep."""
    if isinstance(value, dict):
        return depth > 0 and all(isinstance(k, str) and is_plain(v, depth - 1) for k, v in value.items())
    if isinstance(value, list | tuple):
        return depth > 0 and all(is_plain(v, depth - 1) for v in value)
    return value is None or type(value) in (bool, int, float, str)
