"""
The steps of a trace as the rows of a tree: each with its depth and the bar of its time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from traces.models import State, Step, Trace

# Up to here a trace is one page; longer ones are many of PAGE.
WHOLE = 10_000
PAGE = 2_000
# What LangChain puts between the runnables that people write.
NOISE = (
    *("RunnablePassthrough", "RunnableParallel", "RunnableLambda", "RunnableSequence"),
    *("RunnableAssign", "RunnableMap", "RunnableBinding", "RunnableBranch", "RunnablePick"),
    *("ChannelWrite", "ChannelRead", "_write", "__start__"),
)
BROKEN = frozenset((State.FAILED, State.TIMED_OUT, State.LOST))
_STATES: dict[str, Any] = dict(State.choices)
_READ = (
    *("id", "parent", "position", "kind", "name", "state", "duration_ms", "offset_ms", "model"),
    *("input_tokens", "output_tokens", "error_class"),
)


@dataclass(frozen=True, slots=True)
class Node:
    """
    `level` begins with 1; `x` and `width` of the bar are in hundredths of the whole time.
    """

    id: UUID
    level: int
    name: str
    kind: str
    state: str
    duration_ms: float | None
    model: str
    error_class: str
    tokens: int | None
    x: str
    width: str
    has_children: bool

    @property
    def is_noise(self) -> bool:
        return self.level > 1 and self.kind == Step.Kind.CHAIN and self.name.startswith(NOISE)

    @property
    def is_broken(self) -> bool:
        return self.state in BROKEN

    @property
    def state_label(self) -> str:
        return str(_STATES.get(self.state, self.state))


@dataclass(frozen=True, slots=True)
class Pages:
    """
    Which part of the steps is shown, and where the others are; positions.
    """

    first: int = 0
    number: int = 0
    total: int = 0
    previous: int | None = None
    next: int | None = None

    @property
    def is_part(self) -> bool:
        return self.number < self.total

    @property
    def last(self) -> int:
        return self.first + self.number


@dataclass(frozen=True, slots=True)
class Tree:
    nodes: list[Node]
    pages: Pages

    def __contains__(self, node: UUID) -> bool:
        return any(one.id == node for one in self.nodes)

    @property
    def broken(self) -> UUID | None:
        """
        Where it went wrong first: the deepest broken node, not those above that it broke too.
        """
        found: Node | None = None
        for node in self.nodes:
            if found and node.level <= found.level:
                break
            if node.is_broken:
                found = node
        return found.id if found else None


def tree_of(trace: Trace, first: int | None = None, node: UUID | None = None) -> Tree:
    """
    The tree, or the part of it that begins at a position, or has this node in it.
    """
    steps = Step.objects.filter(trace=trace.pk).order_by("position")
    rows, pages = _part(steps, trace, first, node)
    return Tree(_nodes(trace, rows), pages)


def _part(
    steps: QuerySet[Step], trace: Trace, first: int | None, node: UUID | None
) -> tuple[list[Any], Pages]:
    found: list[Any] = list(steps.values_list(*_READ, named=True)[: WHOLE + 1])
    if len(found) <= WHOLE:
        return found, Pages(number=len(found), total=len(found))
    # Counted by the writer, and once here: a trace whose steps are being written has more.
    total = max(trace.steps_count, len(found))
    if first is None:
        first = _place_of(steps, trace, node)
    first = min(max(0, first), total - 1)
    rows = list(steps.values_list(*_READ, named=True)[first : first + PAGE])
    following = first + PAGE
    return rows, Pages(
        first=first,
        number=len(rows),
        total=total,
        previous=max(0, first - PAGE) if first else None,
        next=following if following < total else None,
    )


def _place_of(steps: QuerySet[Step], trace: Trace, node: UUID | None) -> int:
    """
    Where the page begins that has the node, or else the step that broke last of all: the
    errors of those above it came later, yet they began earlier.
    """
    wanted = steps.filter(pk=node) if node and node != trace.pk else steps.filter(state__in=BROKEN)
    position = wanted.order_by("-position").values_list("position", flat=True).first()
    before = 0 if position is None else steps.filter(position__lt=position).count()
    return before // PAGE * PAGE


def _nodes(trace: Trace, rows: list[Any]) -> list[Node]:
    whole = _whole_time(trace, rows)
    known = {row.id for row in rows}
    below: dict[UUID, list[Any]] = {}
    for row in rows:
        # What lies above may be on another page, or be one of those that were not kept.
        parent = row.parent if row.parent in known and row.parent != row.id else trace.pk
        below.setdefault(parent, []).append(row)
    nodes = [_root(trace, whole, bool(rows))]
    waiting = [(row, 2) for row in reversed(below.pop(trace.pk, []))]
    while waiting:
        row, level = waiting.pop()
        children = below.pop(row.id, [])
        nodes.append(_node(row, level, whole, bool(children)))
        waiting.extend((child, level + 1) for child in reversed(children))
    # Steps that claim to be each other's parents are of no tree: shown all the same.
    rest = [row for rows in below.values() for row in rows]
    nodes.extend(_node(row, 2, whole, has_children=False) for row in rest)
    return nodes


def _whole_time(trace: Trace, rows: Iterable[Any]) -> float:
    if trace.duration_ms:
        return trace.duration_ms
    if trace.is_running:
        return max(1.0, (timezone.now() - trace.started_at).total_seconds() * 1000)
    return max((row.offset_ms + (row.duration_ms or 0) for row in rows), default=1.0) or 1.0


def _root(trace: Trace, whole: float, has_children: bool) -> Node:
    return Node(
        id=trace.pk,
        level=1,
        name=trace.name or trace.deployment_name,
        kind="run",
        state=trace.state,
        duration_ms=trace.duration_ms,
        model="",
        error_class=trace.error_class,
        tokens=_tokens(trace),
        x="0",
        width="100",
        has_children=has_children,
    )


def _node(row: Any, level: int, whole: float, has_children: bool) -> Node:
    x = min(99.0, max(0.0, 100 * row.offset_ms / whole))
    took = whole - row.offset_ms if row.duration_ms is None else row.duration_ms
    return Node(
        id=row.id,
        level=level,
        name=row.name or row.kind,
        kind=row.kind,
        state=row.state,
        duration_ms=row.duration_ms,
        model=row.model,
        error_class=row.error_class,
        tokens=_tokens(row),
        x=f"{x:.2f}",
        width=f"{min(100 - x, max(0.8, 100 * took / whole)):.2f}",
        has_children=has_children,
    )


def _tokens(row: Any) -> int | None:
    parts = [part for part in (row.input_tokens, row.output_tokens) if part is not None]
    return sum(parts) if parts else None


@dataclass(frozen=True, slots=True)
class Looks:
    """
    Which nodes of a tree somebody wants to see.
    """

    find: str = ""
    errors: bool = False
    hides_noise: bool = False

    @classmethod
    def of(cls, params: Mapping[str, str]) -> Looks:
        return cls(
            params.get("find", "")[:200].strip(), "errors" in params, params.get("hide") == "noise"
        )

    @property
    def is_everything(self) -> bool:
        return self == Looks()

    def at(self, nodes: list[Node]) -> list[Node]:
        """
        Those that fit and what they are in. What is hidden as noise leaves its place to what
        is in it.
        """
        if self.is_everything:
            return nodes
        shown: list[Node] = []
        # Of every level, the node above as it was and whether it is shown already.
        above: list[tuple[Node, bool]] = []
        for node in nodes:
            while above and above[-1][0].level >= node.level:
                above.pop()
            fits = self._fits(node)
            if fits:
                shown.extend(one for one, is_in in above if not is_in and not self._hides(one))
                above = [(one, True) for one, _is_in in above]
                if not self._hides(node):
                    shown.append(node)
            above.append((node, fits))
        return _levelled(shown, nodes) if self.hides_noise else shown

    def _hides(self, node: Node) -> bool:
        return self.hides_noise and node.is_noise and not node.is_broken

    def _fits(self, node: Node) -> bool:
        if self.errors and not node.is_broken:
            return False
        text = f"{node.name} {node.model} {node.error_class}".lower()
        return self.find.lower() in text


def _levelled(shown: list[Node], nodes: list[Node]) -> list[Node]:
    """
    The shown nodes with the levels that are left.
    """
    wanted = {node.id for node in shown}
    above: list[tuple[int, int]] = []
    found = []
    for node in nodes:
        while above and above[-1][0] >= node.level:
            above.pop()
        level = above[-1][1] if above else 0
        if node.id in wanted:
            level += 1
            found.append(replace(node, level=level))
        above.append((node.level, level))
    return found
