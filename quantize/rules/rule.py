"""What a rule is and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from quantize.rules.graph import Graph
from quantize.rules.targets import Target

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One place where a graph breaks a rule."""

    rule: int
    title: str
    """Of the rule."""
    severity: Severity
    """error: TensorRT refuses it, or computes something else; warning: it builds, but slower or less exact."""
    node: str
    """The node's name and operator, or `graph`."""
    problem: str
    mend: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.severity}: {self.node}: {self.problem}; {self.mend} (rule {self.rule}, {self.title})"


@dataclass(frozen=True)
class Problem:
    """What a rule's check yields; the rule adds its number and title."""

    node: str
    problem: str
    mend: str
    severity: Severity = "error"


@dataclass(frozen=True)
class Case:
    """One graph against one target."""

    graph: Graph
    target: Target
    profile: frozenset[str] = field(default_factory=frozenset)
    """Names of dimensions for which the build gives a shape profile."""


@dataclass(frozen=True)
class Rule:
    """A row of the table of rules."""

    number: int
    title: str
    check: Callable[[Case], Iterator[Problem]]

    def findings(self, case: Case) -> list[Finding]:
        """Everything in the graph that breaks the rule."""
        return [
            Finding(self.number, self.title, found.severity, found.node, found.problem, found.mend)
            for found in self.check(case)
        ]
