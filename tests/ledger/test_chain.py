"""Lines of money as a chain."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from ledger.chain import GENESIS, LINE_COLUMNS, Line, link
from ledger.usage import Usage
from tests.ledger.calls import a_call, a_ledger, admit_and_settle

LINE = Line(
    hold_id="gen_1.1",
    kind="settlement",
    cost_nanousd=400,
    cost_basis="priced_usage",
    usage=Usage(input_tokens=3, output_tokens=2),
    price_version="v1",
    posted_at_ms=7,
)
OTHERS = {"seq": 2, "kind": "correction", "cost_basis": "unknown", "reason": "r", "price_version": "v2", "hold_id": "x"}


def test_a_digest_covers_the_line_before_and_every_column():
    row = LINE.row(1)
    digests = {link(GENESIS, row), link(hashlib.sha256().digest(), row)}
    for index, column in enumerate(LINE_COLUMNS):
        changed = list(row)
        changed[index] = OTHERS.get(column, 9)
        digests.add(link(GENESIS, tuple(changed)))
    assert len(digests) == len(LINE_COLUMNS) + 2


@given(st.text(), st.text(), st.text(), st.text())
def test_no_two_lines_run_into_one_another(a, b, c, d):
    one, other = (7, a, b), (7, c, d)
    assert (link(GENESIS, one) == link(GENESIS, other)) == (one == other)


async def test_every_line_of_a_ledger_follows_the_one_before(home):
    async with a_ledger(home) as ledger:
        for cost in (400, 500, 0):
            await admit_and_settle(ledger, a_call(), cost=cost)
    with home.database() as db:
        rows = db.execute(f"SELECT {', '.join(LINE_COLUMNS)}, chain FROM postings ORDER BY seq").fetchall()
    previous = GENESIS
    for number, (*row, chain) in enumerate(rows, 1):
        assert row[0] == number
        assert chain == link(previous, tuple(row))
        previous = chain
    assert len(rows) == 3
