"""The state machine, a row for each state and input; docs/alerts.md shows the same rows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import asyncpg
import pytest

DOCS = Path(__file__).parents[2] / "docs" / "alerts.md"
BEGIN, END = "<!-- transitions:begin -->", "<!-- transitions:end -->"

CLOSED = ("ok", "insufficient", "pending")
OPEN = ("firing", "recovering", "flapping", "no_data")
CAUSES = ("rate", "count", "consecutive", "overdue", "open", "no_data")


@dataclass(frozen=True)
class Input:
    """What was found: alert_transition's parameters but for the state."""

    verdict: str
    corrected: bool | None = None
    recovered: bool | None = None
    reopenings: int | None = None
    flapping: bool = False
    reminder_due: bool | None = None


@dataclass(frozen=True)
class Answer:
    action: str | None
    next_state: str
    notice: str | None = None
    in_digest: bool = False


@dataclass(frozen=True)
class Row:
    """A row of the table: whichever of the states it is, these inputs have this answer."""

    states: tuple[str, ...]
    words: str
    inputs: tuple[Input, ...]
    answer: Answer


def closed(words: str, answer: Answer, *inputs: Input) -> Row:
    return Row(CLOSED, words, inputs, answer)


def while_open(words: str, answer: Answer, *inputs: Input) -> Row:
    return Row(OPEN, words, inputs, answer)


RESOLVED = "resolved"
OF_RUNS = tuple(cause for cause in CAUSES if cause != "no_data")
TABLE = [
    *(
        closed(
            f"verdict `{verdict}`",
            Answer(None, verdict),
            Input(verdict),
            Input(verdict, None, None, 2),
        )
        for verdict in CLOSED
    ),
    closed(
        "a cause, nothing to reopen", Answer("opened", "firing", "opened"), *map(Input, OF_RUNS)
    ),
    closed(
        "cause `no_data`, nothing to reopen",
        Answer("opened", "no_data", "no_data"),
        Input("no_data"),
    ),
    closed(
        "a cause, to reopen for the first or second time in 24 h",
        Answer("reopened", "firing", "reopened", in_digest=True),
        *(Input(cause, reopenings=n) for cause in OF_RUNS for n in (0, 1)),
    ),
    closed(
        "cause `no_data`, to reopen for the first or second time in 24 h",
        Answer("reopened", "no_data", "reopened", in_digest=True),
        *(Input("no_data", reopenings=n) for n in (0, 1)),
    ),
    closed(
        "a cause, to reopen for the third time in 24 h",
        Answer("flapping", "flapping", "flapping"),
        *(Input(cause, reopenings=n) for cause in CAUSES for n in (2, 3)),
    ),
    closed(
        "a cause, to reopen while flapping",
        Answer("reopened", "flapping", "reopened", in_digest=True),
        *(Input(cause, reopenings=n, flapping=True) for cause in CAUSES for n in (1, 2, 9)),
    ),
    while_open(
        "corrected",
        Answer("corrected", "ok", RESOLVED),
        *(
            Input(verdict, True, recovered, 0, reminder_due=due)
            for verdict, recovered, due in product((*CLOSED, *CAUSES), (True, False), (True, False))
        ),
    ),
    while_open(
        "recovered",
        Answer("recovered", "ok", RESOLVED),
        *(
            Input(verdict, False, True, 0, reminder_due=due)
            for verdict, due in product((*CLOSED, *CAUSES), (True, False))
        ),
    ),
    while_open(
        "corrected, had been reopened",
        Answer("corrected", "ok", RESOLVED, in_digest=True),
        *(Input("ok", True, False, n, flapping=f) for n in (1, 3) for f in (True, False)),
    ),
    while_open(
        "recovered, had been reopened",
        Answer("recovered", "ok", RESOLVED, in_digest=True),
        *(Input("ok", False, True, n, flapping=f) for n in (1, 3) for f in (True, False)),
    ),
    while_open(
        "a cause",
        Answer(None, "firing"),
        *(Input(c, False, False, n) for c in OF_RUNS for n in (0, 2)),
    ),
    while_open("cause `no_data`", Answer(None, "no_data"), Input("no_data", False, False, 0)),
    while_open(
        "a cause, while flapping",
        Answer(None, "flapping"),
        *(Input(c, False, False, 3, True, due) for c in CAUSES for due in (True, False)),
    ),
    while_open(
        "no cause, not recovered",
        Answer(None, "recovering"),
        *(Input(v, False, False, 0) for v in CLOSED),
        *(Input(v, False, False, 3, True, due) for v in CLOSED for due in (True, False)),
    ),
    while_open(
        "a cause, reminder due",
        Answer("reminder", "firing", "reminder"),
        *(Input(cause, False, False, n, False, True) for cause in OF_RUNS for n in (0, 2)),
    ),
    while_open(
        "cause `no_data`, reminder due",
        Answer("reminder", "no_data", "reminder"),
        Input("no_data", False, False, 0, False, True),
    ),
    while_open(
        "no cause, not recovered, reminder due",
        Answer("reminder", "recovering", "reminder"),
        *(Input(verdict, False, False, 0, False, True) for verdict in CLOSED),
    ),
]


async def answer(owner: asyncpg.Connection, state: str, found: Input) -> tuple[Answer, str | None]:
    """What the function answers, and the cause."""
    row = await owner.fetchrow(
        "select * from meshmetrics.alert_transition($1, $2, $3, $4, $5, $6, $7)",
        state,
        found.verdict,
        found.corrected,
        found.recovered,
        found.reopenings,
        found.flapping,
        found.reminder_due,
    )
    assert row is not None
    return (
        Answer(row["action"], row["next_state"], row["notice"], row["in_digest"]),
        row["cause"],
    )


@pytest.mark.parametrize("row", TABLE, ids=[f"{row.states[0]}: {row.words}" for row in TABLE])
async def test_every_state_and_input_has_the_answer_of_the_table(
    owner: asyncpg.Connection, row: Row
) -> None:
    for state, found in product(row.states, row.inputs):
        got, cause = await answer(owner, state, found)
        assert got == row.answer, (state, found)
        opens = row.answer.action in ("opened", "reopened", "flapping")
        assert cause == (found.verdict if opens else None), (state, found)


async def test_the_tables_rows_are_all_that_there_is(owner: asyncpg.Connection) -> None:
    """Whatever the input, the answer is one that the table shows for this kind of state."""
    shown = {(row.states, row.answer) for row in TABLE}
    booleans = (True, False)
    for states in (CLOSED, OPEN):
        for state, verdict, corrected, recovered, reopenings, flapping, due in product(
            states[:2],
            ("ok", "pending", "rate", "no_data"),
            booleans,
            booleans,
            (None, 0, 3),
            booleans,
            booleans,
        ):
            if (reopenings is None and (flapping or states is OPEN)) or (
                flapping and not reopenings
            ):
                continue  # there is no such incident
            found = Input(verdict, corrected, recovered, reopenings, flapping, due)
            got, _ = await answer(owner, state, found)
            assert any(got == known and states == of for of, known in shown), (state, found, got)


async def test_states_causes_and_notices_are_those_that_the_tables_take(
    owner: asyncpg.Connection,
) -> None:
    definitions = {
        row["conname"]: row["text"]
        for row in await owner.fetch(
            "select conname, pg_get_constraintdef(oid) as text from pg_constraint"
            " where contype = 'c' and conrelid::regclass::text like '%workflow_alert_%'"
        )
    }

    def words_of(name: str) -> set[str]:
        return {part.split("'")[0] for part in definitions[name].split("'")[1::2]}

    assert words_of("workflow_alert_states_state_check") == {*CLOSED, *OPEN}
    causes = words_of("workflow_alert_incidents_cause_check")
    assert causes == set(CAUSES)
    for verdict in (*causes, *CLOSED):
        found = await owner.fetchval("select meshmetrics.alert_is_cause($1)", verdict)
        assert found == (verdict in causes)
    notices = {row.answer.notice for row in TABLE if row.answer.notice}
    assert words_of("workflow_alert_deliveries_kind_check") == notices | {"test", "confirm"}


def rendered() -> str:
    """The table as the docs have it."""
    lines = ["| state | input | action | next state | notice |", "|---|---|---|---|---|"]
    for row in TABLE:
        a = row.answer
        notice = f"`{a.notice}`{', in the digest' if a.in_digest else ''}" if a.notice else "none"
        states = "no incident" if row.states == CLOSED else "incident open"
        action = f"`{a.action}`" if a.action else "none"
        lines.append(f"| {states} | {row.words} | {action} | `{a.next_state}` | {notice} |")
    return "\n".join(lines)


def test_the_docs_show_this_table() -> None:
    """MESHMETRICS_TEST_WRITE_GOLDEN=1 writes it."""
    text = DOCS.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    expected = f"{before}{BEGIN}\n{rendered()}\n{END}{after}"
    if os.environ.get("MESHMETRICS_TEST_WRITE_GOLDEN"):
        DOCS.write_text(expected)
        text = expected
    assert text == expected
