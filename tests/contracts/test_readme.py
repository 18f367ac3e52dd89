"""What the README says in tables is what the code does."""

from itertools import takewhile
from pathlib import Path

from router.faults import FAULT_RULES, Outcome

README = Path(__file__).parents[2] / "README.md"


def fault_table() -> dict[str, list[str]]:
    """{outcome: its cells} of the table under its comment."""
    lines = README.read_text("utf-8").split("<!-- fault table", 1)[1].splitlines()[1:]
    rows = [line.strip("|").split("|") for line in takewhile(lambda line: line.startswith("|"), lines[2:])]
    return {row[0].strip(" `"): [cell.strip() for cell in row[1:]] for row in rows}


def test_the_fault_table_is_the_one_in_force():
    table = fault_table()
    assert table.keys() == {outcome.value for outcome in Outcome} - {"ok"}
    for name, (_, breaker, following, cost) in table.items():
        rule = FAULT_RULES[Outcome(name)]
        assert (breaker == "yes") == rule.counts_for_breaker, name
        assert (following == "yes") == rule.tries_next, name
        assert (cost != "no") == rule.may_be_billed, name
