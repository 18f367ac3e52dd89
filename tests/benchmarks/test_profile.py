"""What a profile's samples are told as."""

from benchmarks.profile import NOT_OURS, Profile, Spent, area_of, by_area, by_thread, names_of, shares_of, statements

LOOP = "thread (7): MainThread"
WRITER = "thread (8): Thread-1 (_connection_wor"


def test_the_innermost_frame_that_is_known_says_what_a_sample_is_for():
    frames = ["serve (service/server.py:90)", "run (router/dispatch.py:65)", "loads (json/decoder.py:1)"]
    assert area_of(frames) == "attempt and flight"
    assert area_of([*frames, "_request (aiohttp/client.py:5)"]) == "provider: request, connection, answer"
    assert area_of(["serve (service/server.py:90)", "run (asyncio/runners.py:118)"]) == NOT_OURS


def test_shares_are_of_the_main_thread_alone():
    edge, plan = "__call__ (service/http/edge.py:29)", "plan (router/plan.py:74)"
    sampled = [f"{LOOP};{edge} 3", f"{LOOP};{edge};{plan} 1", f"{WRITER};run (ledger/sqlite/writer.py:1) 9"]
    assert shares_of(sampled, 7) == {"edge: HTTP, body, headers, answer": 0.75, "plan: route, price, bounds, key": 0.25}


def test_threads_are_told_by_what_they_do():
    sampled = [
        f"{LOOP};run (a.py:1) 1",
        f"{WRITER};work (b.py:1) 1",
        f"{WRITER};_commit_in_turn (ledger/sqlite/writer.py:1) 1",
        "thread (9): Thread-2 (_connection_wor;read (c.py:1) 1",
    ]
    assert names_of(sampled) == {7: "MainThread", 8: "ledger writer", 9: "ledger reader"}


def test_the_tables_say_what_each_kind_of_call_costs():
    miss = Profile({7: Spent(100.0, 1.0), 8: Spent(50.0, 2.5)}, {7: "event loop"}, {"ledger": 0.4, "rare": 0.01})
    floor = Profile({1: Spent(30.0, 1.0)}, {1: "event loop"}, {})
    assert by_thread({"miss": miss}, floor) == [
        "| CPU of one call, µs | miss | the floor's call |",
        "| --- | ---: | ---: |",
        "| event loop | 100 | 30 |",
        "| the HTTP server's own threads | 50 | 0 |",
        "| all | 150 | 30 |",
        "| times that a thread waited | 3.5 | 1.0 |",
    ]
    assert by_area({"miss": miss}) == ["| of it the event loop's, µs | miss |", "| --- | ---: |", "| ledger | 40 |"]


async def test_the_statements_of_a_call_are_counted():
    _, _, *rows = await statements()
    told = {name: int(count) for _, name, count, _ in ([cell.strip() for cell in row.split("|")] for row in rows)}
    assert told.keys() == {"admission", "settlement", "hit", "hit at hand"}
    # A third more than when this was written: who needs more says what for.
    assert told["admission"] <= 24
    # Of the rest up to seven are for the sums by the day of users, workflows and runs: a month by user took seconds.
    assert told["settlement"] <= 42
    assert told["hit"] <= 11
    assert told["hit at hand"] <= 10
