"""What a rule says: a finding, or that it could not judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a run, or worth knowing of it.

    Args:
        kind: name of the rule, see `vidiff.doctor.rules.RULES`.
        title: what is the matter, in a sentence.
        evidence: the numbers of the run's files that say so.
        advice: what to try, in options and files of this package.
        level: `bad`: the run has failed or will; `note`: worth knowing; `good`: nothing is wrong.
    """

    kind: str
    title: str
    evidence: str
    advice: str
    level: Literal["bad", "note", "good"]


class CannotJudge(Exception):
    """A rule lacks what it goes by; the message says what."""
