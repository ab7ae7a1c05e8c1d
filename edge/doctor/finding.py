"""What a check of the doctor has found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    check: str
    """What was looked at, in a few words that stay the same."""
    state: State
    """warn: it works, but not as it should or not for long."""
    detail: str
    """What was seen."""
    remedy: str = ""
    """What to do; empty where nothing is to be done."""

    def text(self) -> str:
        """One line, and one more for the remedy."""
        line = f"{self.state:<5} {self.check:<12} {self.detail}"
        return f"{line}\n{'':18} -> {self.remedy}" if self.remedy else line


def ok(check: str, detail: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", detail)


def warn(check: str, detail: str, remedy: str) -> Finding:
    """It works, but not as it should or not for long."""
    return Finding(check, "warn", detail, remedy)


def fail(check: str, detail: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(check, "fail", detail, remedy)
