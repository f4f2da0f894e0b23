"""What a checkpoint may name: a closed set, decided by name before anything is imported or called.

A configuration is its user's own program; a checkpoint is data, and often somebody else's. Its record says of which
class the model is, and, as dicts of `class_path` and `init_args`, which networks and optimisers it was built from.
Those are looked up and called here, and nothing else is: no text of a record is ever imported or parsed further.
"""

from __future__ import annotations

import importlib
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from vidiff.errors import RunError

CLOSED = ("vidiff.models", "vidiff.nn", "vidiff.augment", "vidiff.optim", "torch.nn.modules", "torch.optim")
KINDS = (nn.Module, torch.optim.Optimizer)
DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
ACCEPTED = (
    "a checkpoint may name classes of vidiff's models, nn, augment and optim, of torch.nn and torch.optim, and of "
    "modules that you trust (--trust MODULE)"
)


def _within(module: str, roots: Sequence[str]) -> bool:
    return any(module == root or module.startswith(f"{root}.") for root in roots)


def check_name(path: Any, trust: Sequence[str] = ()) -> None:
    """Whether a `class_path` is in the closed set, by its name alone.

    Raises:
        RunError: it is not.
    """
    if isinstance(path, str) and DOTTED.fullmatch(path):
        module, _, name = path.rpartition(".")
        if _within(module, trust) or (not name.startswith("_") and (module == "torch.nn" or _within(module, CLOSED))):
            return
    raise RunError(f"it names {str(path)[:80]!r}, which is not called: {ACCEPTED}")


def named(value: Any) -> Iterator[dict[str, Any]]:
    """Every dict with a `class_path` in nested dicts and lists of plain values."""
    if isinstance(value, dict):
        if "class_path" in value:
            yield value
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for inner in value:
        yield from named(inner)


def check_names(value: Any, trust: Sequence[str] = ()) -> None:
    """`check_name` for every `class_path` in nested dicts and lists of plain values."""
    for one in named(value):
        check_name(one["class_path"], trust)
        more = set(one) - {"class_path", "init_args", "dict_kwargs"}
        if more or not all(isinstance(one.get(k, {}), dict) for k in ("init_args", "dict_kwargs")):
            raise RunError(f"what it says of {one['class_path']} is no class_path with init_args")


def look_up(path: str, trust: Sequence[str] = ()) -> Callable:
    """The class (or, of a trusted module, function) of a name in the closed set.

    It has to be defined where its name says: what a module imports from elsewhere is not the module's.

    Raises:
        RunError: the name is not in the set, or there is no such class.
    """
    check_name(path, trust)
    module, _, name = path.rpartition(".")
    try:
        found = vars(importlib.import_module(module)).get(name)
    except Exception as error:  # a trusted module may raise anything
        raise RunError(f"it names {path}, which cannot be imported: {error}") from error
    home = getattr(found, "__module__", None) or ""
    is_class = isinstance(found, type)
    ours = is_class and _within(home, CLOSED) and (issubclass(found, KINDS) or is_dataclass(found))
    if ours or ((is_class or inspect.isfunction(found)) and _within(home, trust)):
        return found
    raise RunError(f"it names {path}, which is not called: {ACCEPTED}")


def build(target: Callable, arguments: dict[str, Any], trust: Sequence[str] = (), inputs: tuple = ()) -> Any:
    """`target(*inputs, **arguments)`; a dict with a `class_path` becomes an object, or a factory where one is wanted.

    Args:
        target: a class of the closed set.
        arguments: plain values, dicts of `class_path` and `init_args`, dicts for dataclasses; live objects stay.
        trust: see `check_name`.
        inputs: positional arguments.
    """
    hints = _hints(target)
    return target(*inputs, **{name: _made(value, hints.get(name, Any), trust) for name, value in arguments.items()})


def _made(value: Any, hint: Any, trust: Sequence[str]) -> Any:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    options = typing.get_args(hint) if union else (hint,)
    wants_function = any(Callable in (o, typing.get_origin(o)) for o in options)
    if isinstance(value, str) and wants_function and str not in options:
        raise RunError(f"it gives the text {value[:80]!r} where a class_path is wanted: no text is called")
    if isinstance(value, dict) and "class_path" in value:
        target = look_up(value["class_path"], trust)
        arguments = value.get("init_args", {}) | value.get("dict_kwargs", {})
        if wants_function:
            return lambda *inputs: build(target, arguments, trust, inputs)
        return build(target, arguments, trust)
    if isinstance(value, dict):
        made = next((o for o in options if is_dataclass(o)), None)
        return build(made, value, trust) if made else value
    if isinstance(value, list | tuple):
        inner = next((typing.get_args(o)[0] for o in options if typing.get_args(o)), Any)
        return type(value)(_made(v, inner, trust) for v in value)
    return value


def _hints(target: Callable) -> dict[str, Any]:
    """Annotations of a function, or of the `__init__`s of a class and of those it inherits from."""
    if not isinstance(target, type):
        return typing.get_type_hints(target)
    found = {}
    for c in reversed(target.__mro__):
        if "__init__" in vars(c) and c.__module__.partition(".")[0] not in ("builtins", "torch", "lightning"):
            found |= typing.get_type_hints(c.__init__)
    return found


class Budget(TorchDispatchMode):
    """A limit to what may be allocated, so that a record's absurd sizes end in a message and not in a dead machine.

    Args:
        elements: scalars that may be allocated at all.
        calls: operations that may be made, which bounds the number of layers.
    """

    def __init__(self, elements: int, calls: int):
        super().__init__()
        self.elements, self.calls = elements, calls

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        size = args[0] if args else (kwargs or {}).get("size")
        if isinstance(size, list | tuple) and all(type(n) is int for n in size):  # the size of a factory
            self.elements -= math.prod(size)
        self.calls -= 1
        if self.elements < 0 or self.calls < 0:
            raise RunError("its record asks for networks that are far larger than the weights it holds")
        return func(*args, **(kwargs or {}))
