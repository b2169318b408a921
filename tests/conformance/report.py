"""Counts by area, and how they are shown."""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from conformance.areas import BUILT, ORDER
from conformance.replay import Outcome
from conformance.routes import Operation
from conformance.wire import Answer

PAGE = Path(__file__).with_name("differs.tsv")
HEADS = (
    "area",
    "routes answered",
    "recorded answers",
    "status equal",
    "every recorded key is there with its type",
    "keys and types equal (strict)",
    "the same or meant",
)
BEGIN, END = "<!-- conformance: begin -->", "<!-- conformance: end -->"


@dataclass
class Row:
    """One area."""

    routes: int = 0
    answered: int = 0
    entries: int = 0
    absent: int = 0
    status: int = 0
    held: int = 0  # every recorded key with its type, and perhaps more
    shape: int = 0  # exactly the recorded keys
    meant: int = 0  # shapes that differ in listed ways only

    def add(self, other: "Row") -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


class Listed:
    """The differences of ``differs.tsv``, which docs/differs-from-vault.md explains."""

    def __init__(self, lines: Iterable[tuple[str, str, str]]) -> None:
        self.lines = [(re.compile(request), re.compile(what), why) for request, what, why in lines]
        self._used: set[str] = set()

    @classmethod
    def read(cls) -> "Listed":
        with PAGE.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(
                (line for line in file if not line.startswith("#")), delimiter="\t", quoting=csv.QUOTE_NONE
            )
            return cls((request, what, why) for request, what, why in rows)

    def covers(self, request: str, differs: Iterable[str]) -> bool:
        """Whether every difference of ``request`` is listed."""
        fitting = [(form.pattern, what) for form, what, _ in self.lines if form.fullmatch(request)]
        hits = [[form for form, what in fitting if what.fullmatch(text)] for text in differs]
        self._used.update(form for forms in hits for form in forms)
        return all(hits)

    def unused(self) -> list[str]:
        return [form.pattern for form, _, _ in self.lines if form.pattern not in self._used]


class Report:
    """See the module."""

    def __init__(self) -> None:
        self.rows = {area: Row() for area in ORDER}
        self.unanswered: list[str] = []
        self.differing: list[str] = []
        self.listed = Listed.read()

    def routes(self, sent: Iterable[tuple[Operation, Answer | None]]) -> None:
        """Count operations; ``None`` where there was no engine to send them to."""
        for one, answer in sent:
            row = self.rows[one.area]
            row.routes += 1
            if answer is not None and answer.served:
                row.answered += 1
            elif one.area in BUILT:
                self.unanswered.append(f"{one.method} {one.pattern} -> {answer.status if answer else 'no engine'}")

    def replay(self, name: str, outcomes: Iterable[Outcome]) -> None:
        """Count replayed entries."""
        for number, one in enumerate(outcomes, 1):
            row = self.rows[one.area]
            row.entries += 1
            row.absent += one.absent
            row.status += one.same_status
            row.held += one.holds_recorded
            row.shape += one.same_shape
            meant = bool(one.differs) and self.listed.covers(f"{one.entry.method} {one.entry.path}", one.differs)
            row.meant += meant
            if one.area in BUILT and one.differs and not meant:
                self.differing.append(f"{name}:{number} {one.entry.method} {one.entry.path}: {reason(one)}")

    def total(self) -> Row:
        """Of the areas that are built."""
        sum_ = Row()
        for area in BUILT:
            sum_.add(self.rows[area])
        return sum_

    def table(self) -> str:
        """A table in Markdown, and the sum in words."""
        lines = [
            f"| {' | '.join(HEADS)} |",
            "|" + "---|" * len(HEADS),
        ]
        lines += [self._line(area, row) for area, row in self.rows.items() if row.routes or row.entries]
        lines.append(self._line("**all built areas**", self.total()))
        return "\n".join([*lines, *self._words()])

    def _words(self) -> list[str]:
        """The shapes of what was answered with the recorded status; of another status there is nothing to compare."""
        total = self.total()
        if not total.status:
            return []
        held, same = percent(total.held, total.status), percent(total.shape, total.status)
        words = (
            f"Of the {total.status} answers of built areas with the recorded status, {total.held} ({held} %) have "
            f"every recorded key with its type, and {total.shape} ({same} %) have exactly the recorded keys."
        )
        return ["", words]

    def _line(self, area: str, row: Row) -> str:
        if not row.answered and row.absent == row.entries:
            return f"| {area} | absent ({row.routes}) | {row.entries or ''} | | | | |"
        there = row.entries - row.absent
        missing = f" ({row.absent} absent)" if row.absent else ""
        return (
            f"| {area} | {share(row.answered, row.routes)} | {row.entries or ''}{missing} "
            f"| {share(row.status, there)} | {share(row.held, there)} | {share(row.shape, there)} "
            f"| {share(row.shape + row.meant, there)} |"
        )

    def details(self) -> str:
        """Every difference in a built area, and what is listed in vain."""
        heads = (
            ("Routes of built areas that are not answered", self.unanswered),
            ("Answers that differ", self.differing),
            ("Listed differences that did not happen", self.listed.unused() if self.total().status else []),
        )
        return "\n".join(
            f"\n{head}: {len(lines)}\n" + "\n".join(f"  {line}" for line in lines) for head, lines in heads
        )


def share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({percent(part, whole)} %)" if whole else ""


def percent(part: int, whole: int) -> str:
    """With one digit behind the point where it is not whole; never rounded up, so that 100 means all."""
    return f"{1000 * part // whole / 10:.1f}".removesuffix(".0")


def reason(one: Outcome) -> str:
    """Why it differs, in a line."""
    if not one.same_status:
        said = one.answer.body.get("errors") if isinstance(one.answer.body, dict) else None
        return f"{one.entry.status}, not {one.answer.status}{f' {said}' if said else ''}"
    shown = ", ".join(one.shape[:6])
    return shown + (f" and {len(one.shape) - 6} more" if len(one.shape) > 6 else "")


def into_page(page: str, table: str) -> str:
    """``page`` with the table between the two marks replaced.

    Raises:
        ValueError: the page has no marks.
    """
    head, found, rest = page.partition(BEGIN)
    _, ended, tail = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"the page has no {BEGIN} ... {END}")
    return f"{head}{BEGIN}\n{table}\n{END}{tail}"
