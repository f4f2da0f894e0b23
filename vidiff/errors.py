"""Errors that are meant for people: shown as one message, without a traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T, R = TypeVar("T"), TypeVar("R")
TRY_AGAIN = 75  # exit code of a run that stopped in order and can be continued, EX_TEMPFAIL of sysexits.h


class UsageError(ValueError):
    """The request itself is wrong (a key, a value, a file that does not exist). Exit code 2."""

    exit_code = 2


class RunError(RuntimeError):
    """A sound request could not be carried out (unreadable data, a diverged run). Exit code 1."""

    exit_code = 1


def did_you_mean(name: str, accepted: Iterable[str]) -> str:
    """` Did you mean 'dcgan'?`: of the accepted names one that begins with this one, else the nearest, else ""."""
    import difflib

    accepted = list(accepted)
    near = [a for a in accepted if name and a.startswith(name)] or difflib.get_close_matches(name, accepted, 1, 0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def unknown_name(kind: str, name: str, accepted: Iterable[str]) -> str:
    """A message for a name that does not exist: the nearest one, and all that are accepted."""
    accepted = list(accepted)
    return f"unknown {kind} {name!r}.{did_you_mean(name, accepted)} Accepted: {', '.join(accepted)}."


def listed(lines: Iterable[str], most: int | None = None) -> str:
    """Details below a message, a line each: all of them, or the first `most` and how many more there are."""
    lines = list(lines)
    more = [f"... and {len(lines) - most} more"] if most and len(lines) > most else []
    return "".join(f"\n  {line}" for line in [*lines[:most], *more])


def at_least(least: float, **values: float | None) -> None:
    """Raise UsageError for a value below `least`, named as it is given; None means that it was not set."""
    for name, value in values.items():
        if value is not None and value < least:
            raise UsageError(f"{name} must be at least {least}, got {value}")


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Tells an error that nobody foresaw what was being done (`reading a.mp4`), for `unforeseen` to say."""
    try:
        yield
    except Exception as error:
        error.add_note(f"while {what}")
        raise


def unforeseen(error: Exception, what: str) -> str:
    """One line for an error that nobody foresaw: `while <innermost doing>: <type>: <message>`.

    Args:
        error: what was raised.
        what: what was being done where nothing nearer to the error says so.
    """
    notes = [note for note in getattr(error, "__notes__", []) if note.startswith("while ")]
    words = " ".join(str(error).split())
    text = f"{notes[0] if notes else f'while {what}'}: {type(error).__name__}: {words[:500]}".rstrip(": ")
    text += memory_hint("out of memory" if isinstance(error, MemoryError) else words)
    return f"{text}; VIDIFF_DEBUG=1 shows the traceback"


def one_by_one(items: Iterable[T], work: Callable[[T], R], verb: str, alone: bool) -> Iterator[tuple[T, R, str]]:
    """Yield (item, what came of it, "") of each, or (item, None, why nothing did): a bad file does not cost the others.

    Args:
        items: files, in order.
        work: makes of one what is wanted. Its UsageError ends all: it is about the request, as of the output.
        verb: what messages call it, such as `translating`.
        alone: the one item is all that was asked for, so that its error is raised instead.
    """
    for item in items:
        try:
            with doing(f"{verb} {item}"):
                result = work(item)
        except UsageError:
            raise
        except Exception as error:
            if alone:
                raise
            yield item, None, str(error) if isinstance(error, RunError) else unforeseen(error, f"{verb} {item}")
        else:
            yield item, result, ""


def first_line(error: Exception) -> str:
    """The kind and the first line of an error that nobody foresaw."""
    return f"{type(error).__name__}: {(str(error).strip() or 'without a message').splitlines()[0]}"


def memory_hint(words: str) -> str:
    """What to do about an error that says, in any library's words, that memory ran out; else nothing."""
    if not any(sign in words for sign in ("out of memory", "DefaultCPUAllocator", "Cannot allocate memory")):
        return ""
    return " (out of memory: a smaller width, resolution, num_frames or batch_size needs less)"
