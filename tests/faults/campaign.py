"""Load on services that share a ledger while one of them dies, and the audit that follows it.

What the upstream saw and what the callers were told are the witnesses; the ledger has to agree with both.
"""

import asyncio
import itertools
import json
from collections import Counter
from typing import Any

import aiohttp

from ledger.verify import verify_ledger
from tests.faults.dying import LAPSED_WITHIN_S
from tests.ledger.homes import Home
from tests.processes import Service
from tests.upstream import Connection, Request, ScriptedUpstream, answer, status

COST_NANOUSD = 3 * 1000 + 2 * 2000
_plain = answer("all well", prompt_tokens=3, completion_tokens=2, delay_s=0.005)
# Busy, and to be asked again at once: what fails otherwise would soon be left alone, and then no call fails over.
_fails = status(429, headers={"retry-after": "0"})


async def plays(connection: Connection, request: Request) -> None:
    """Every answer costs COST_NANOUSD. Calls on route `twice` fail at their first deployment, for nothing."""
    await (_fails if request.body["model"] == "first" else _plain)(connection, request)


def config(url: str) -> str:
    """Routes `chat` (one deployment) and `twice` (two, the first of which fails), under ceilings of several scopes."""
    models = "".join(
        f'[[models]]\nid = "up:{name}"\ninput_usd_per_mtok = "1"\noutput_usd_per_mtok = "2"\nmax_output_tokens = 1000\n'
        for name in ("first", "second")
    )
    ceilings = "".join(
        f'[[ceilings]]\nscope = "{scope}"\nwindow = "{window}"\nlimit_usd = "1000"\n'
        for scope, window in (("global", "month"), ("provider:up", "total"), ("model:up:second", "day"))
    )
    return f"""
[router]
breaker_threshold = 1000000
[[providers]]
name = "up"
dialect = "openai"
base_url = "{url}"
max_concurrency = 1000
[[routes]]
name = "chat"
targets = ["up:second"]
[[routes]]
name = "twice"
targets = ["up:first", "up:second"]
# The last closed breaker of a route is spared: all calls of `twice` go on trying their first deployment.
[[routes]]
name = "first alone"
targets = ["up:first"]
{models}{ceilings}"""


class Campaign:
    """Every call that was made, and every answer that somebody got whole. A call's user is its prompt."""

    def __init__(self, home: Home, upstream: ScriptedUpstream) -> None:
        self.home = home
        self.upstream = upstream
        self.asked: set[tuple[str, str]] = set()
        self.answered: list[dict[str, Any]] = []
        self.is_over = False
        self._numbers = itertools.count()

    async def call(self, service: Service, route: str, prompt: str, *, stream: bool) -> dict[str, Any]:
        """One call to its end. Raises aiohttp.ClientError when the service is gone before that."""
        self.asked.add((route, prompt))
        body = {"model": route, "prompt": prompt, "user": prompt, "params": {"max_tokens": 20}, "stream": stream}
        async with service.http.post(f"{service.url}/generate", json=body) as response:
            told = await response.read()
            assert response.status == 200, told
        whole = _done(told) if stream else json.loads(told)
        if whole is None:
            raise aiohttp.ClientPayloadError("the stream broke off")
        self.answered.append(whole)
        return whole

    async def load(self, service: Service, *, pairs: int = 0) -> None:
        """Calls until the service is gone or the campaign over: new ones, ones asked before, equal ones at once."""
        answered: list[tuple[str, str]] = []
        try:
            for turn in itertools.count():
                route = "twice" if turn % 2 else "chat"
                prompt = f"prompt {next(self._numbers)}"
                async with asyncio.TaskGroup() as together:
                    for _ in range(1 + pairs):
                        together.create_task(self.call(service, route, prompt, stream=turn % 3 == 0))
                answered.append((route, prompt))
                if turn % 2:
                    again = answered[turn // 2]
                    assert (await self.call(service, *again, stream=turn % 3 == 1))["cache"] == "hit"
                if self.is_over:
                    return
        except (aiohttp.ClientError, ExceptionGroup) as error:
            _only_lost_connections(error)

    async def at_rest(self) -> None:
        """Wait until the holds of the dead have lapsed: some living service sweeps."""
        left = "SELECT 'held' FROM holds WHERE state = 'held' UNION ALL SELECT 'in flight' FROM flights"
        await self.home.until(left, lambda rows: not rows, within_s=LAPSED_WITHIN_S)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What the ledger says."""
        return self.home.rows(sql)

    def audit(self) -> None:
        """The rules, and both witnesses."""
        findings = verify_ledger(self.home.url, on_rule=lambda _: None)
        assert findings.violations == ()
        assert self.rows("SELECT hold_id FROM holds WHERE state = 'held'") == []
        assert self.rows("SELECT ceiling_id FROM ceiling_windows WHERE held_amount <> 0") == []
        assert self.rows("SELECT generation_id FROM generations WHERE outcome IS NULL") == []
        self._audit_answers()
        self._audit_requests()

    def _audit_answers(self) -> None:
        """Every answer that was received whole is on record at its cost, and no other call of its was charged."""
        charged = dict(
            self.rows(
                "SELECT generation_id, SUM(cost_nanousd) FROM generations LEFT JOIN holds USING (generation_id)"
                " LEFT JOIN postings USING (hold_id) WHERE generations.outcome = 'ok' GROUP BY generation_id"
            )
        )
        for whole in self.answered:
            assert whole["id"] in charged, "an answered call is on record"
            assert (charged[whole["id"]] or 0) == whole["cost_nanousd"]
            assert whole["cost_nanousd"] == (COST_NANOUSD if whole["cache"] == "miss" else 0)

    def _audit_requests(self) -> None:
        """Each request had a hold before it was sent, and each hold has one line, or was given back for nothing."""
        seen = Counter((_trace_of(request), f"up:{request.body['model']}") for request in self.upstream.requests)
        assert set(seen.values()) <= {1}, "no attempt is sent twice"
        holds = {
            (trace, deployment): found
            for trace, deployment, *found in self.rows(
                "SELECT trace_id, holds.deployment, state, held_nanousd, SUM(cost_nanousd), MAX(postings.cost_basis),"
                "       COUNT(kind)"
                "  FROM holds JOIN generations USING (generation_id) LEFT JOIN postings USING (hold_id)"
                " GROUP BY hold_id, trace_id, holds.deployment, state, held_nanousd"
            )
        }
        assert seen.keys() <= holds.keys(), "no byte goes out before its hold is on record"
        for attempt, (state, held, charged, basis, lines) in holds.items():
            if state == "settled":
                assert (charged, basis, lines) == (COST_NANOUSD, "priced_usage", 1)
            elif state == "released":
                assert attempt[1] == "up:first", "the provider said no, and bills nothing"
                assert lines == 0
            elif lines == 1:
                assert (state, charged, basis) == ("lapsed", held, "unknown")
            else:
                assert (state, charged, lines) == ("lapsed", COST_NANOUSD, 2), "late usage mends the lapsed line"
            assert attempt in seen or state == "lapsed"

    async def audit_repeats(self, service: Service) -> None:
        """A prompt is answered from what is stored if, and only if, a call that asked it was settled with an answer."""
        settled = {
            (route, user)
            for route, user in self.rows(
                "SELECT route, user_id FROM generations JOIN holds USING (generation_id)"
                " WHERE generations.outcome = 'ok' AND holds.outcome IN ('ok', 'lost')"
            )
        }
        told = {whole["id"] for whole in self.answered}
        answered = {
            (route, user)
            for route, user, generation in self.rows("SELECT route, user_id, generation_id FROM generations")
            if generation in told
        }
        unsure = sorted(self.asked - answered) + sorted(answered)[:20]
        assert answered <= settled
        for route, prompt in unsure:
            body = {"model": route, "prompt": prompt, "user": prompt, "params": {"max_tokens": 20}}
            code, found = await service.generate(**body, cache={"mode": "only"})
            assert (code == 200) == ((route, prompt) in settled), (prompt, found)


def _done(told: bytes) -> dict[str, Any] | None:
    """The whole answer of an event stream. None: it broke off before its end."""
    events = [event.split(b"\n") for event in told.decode().encode().split(b"\n\n") if event.startswith(b"event: ")]
    assert all(b"event: error" not in event for event in events), told
    return next((json.loads(line[5:]) for name, line, *_ in events if name == b"event: done"), None)


def _trace_of(request: Request) -> str:
    return request.headers["traceparent"].split("-")[1]


def _only_lost_connections(error: BaseException) -> None:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            _only_lost_connections(inner)
    elif not isinstance(error, aiohttp.ClientError):
        raise error
