"""What holds of a ledger, whatever is drawn: on either engine, one example after the other in the test's own home."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st


def holds(check, home, *drawn, examples, also=()):
    """Run `check(home, *values)` with so many values drawn by these strategies, in a home that holds nothing yet.

    examples: {engine: how many}. also: values that are tried first.
    """

    def with_nothing_there(values):
        home.anew()
        asyncio.run(check(home, *values))

    for values in also:
        with_nothing_there(values)
    settings(max_examples=examples[home.engine], deadline=None)(given(st.tuples(*drawn))(with_nothing_there))()
