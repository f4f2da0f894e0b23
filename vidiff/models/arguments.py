"""What a model was built with, as values that a checkpoint may hold."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from typing import Any

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class KeepsArguments:
    """Base of a class whose objects know the arguments of their construction, `arguments`, by name.

    They are what the caller gave or the signature has, whatever a constructor does with its variables afterwards.
    """

    # Here, not in the class that has the arguments: jsonargparse takes a class's own __new__ for its signature.
    def __new__(cls, *args: Any, **kwargs: Any):
        new = super().__new__(cls)
        object.__setattr__(new, "arguments", bound_arguments(cls, args, kwargs))
        return new


def constructors(cls: type) -> Iterator[list[inspect.Parameter]]:
    """The named parameters of a class's constructor, then of each that it hands its **kwargs on to."""
    for base in cls.__mro__:
        if "__init__" in vars(base):
            parameters = list(inspect.signature(base.__init__).parameters.values())[1:]  # without self
            yield [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                return


def bound_arguments(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Every argument of `cls(*args, **kwargs)` and of the constructors that it hands its **kwargs on to, by name.

    Dataclasses come as dicts. What is only a default of the code (a network factory, say) is left out: the class
    brings it again.
    """
    found, defaults = {}, []
    for named in constructors(cls):
        given = dict(zip([p.name for p in named if p.kind in POSITIONAL], args)) | kwargs
        args = ()  # the further constructors are called by keyword
        defaults += [p.default for p in named]
        for p in named:
            if (value := given.get(p.name, p.default)) is not p.empty:
                found.setdefault(p.name, asdict(value) if is_dataclass(value) else value)
    return {k: v for k, v in found.items() if is_plain(v) or not any(v is d for d in defaults)}


def is_plain(value: Any, depth: int = 32) -> bool:
    """Whether a value is made of what `torch.load(weights_only=True)` accepts and YAML holds, `depth` levels deep."""
    if isinstance(value, dict):
        return depth > 0 and all(isinstance(k, str) and is_plain(v, depth - 1) for k, v in value.items())
    if isinstance(value, list | tuple):
        return depth > 0 and all(is_plain(v, depth - 1) for v in value)
    return value is None or type(value) in (bool, int, float, str)
