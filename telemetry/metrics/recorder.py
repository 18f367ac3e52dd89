"""Counts what happened, from the facts that the ledger has just taken. Costs a call a few microseconds.

Names that callers choose are bounded: as many as LIMITS says are told apart, all further ones are `other`. Those that
came first stay; the sums are whole either way.
"""

from typing import Final

import msgspec

from telemetry.metrics import instruments as its
from telemetry.metrics.tally import OTHER, Count, Spread, Tally
from telemetry.names import HTTP_METHODS, WELL_KNOWN_PROVIDERS

# {label: how many values of it one process tells apart}.
LIMITS: Final = {"deployment": 200, "route": 200, "key": 100, "http.route": 100, "code": 100}
NANOUSD_PER_USD: Final = 1e9
OK: Final = "ok"
SHORT_S: Final = its.CHUNK_GAP.bounds[0]


class Gaps:
    """The times between the chunks of one stream. Nearly all are short: those are counted only, and added up."""

    __slots__ = ("long_s", "short", "short_s")

    def __init__(self) -> None:
        self.short = 0
        self.short_s = 0.0
        self.long_s: list[float] = []

    def add(self, gap_s: float) -> None:
        """One more. Each event of each stream pays for this."""
        if gap_s <= SHORT_S:
            self.short += 1
            self.short_s += gap_s
        else:
            self.long_s.append(gap_s)


class AttemptAccount(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt that the ledger has the end of. key: the API key's id, or empty. operation: `chat` or `embeddings`.

    tokens: {class: count}, disjoint and above 0. gaps: where it was streamed.
    """

    operation: str
    provider: str
    model: str
    key: str
    outcome: str
    is_hedge: bool
    cost_nanousd: int
    basis: str
    overran: bool
    latency_s: float
    ttft_s: float | None
    tokens: dict[str, int]
    gaps: Gaps | None = None


class CallAccount(msgspec.Struct, frozen=True, kw_only=True):
    """One call that the ledger has the end of. saved_nanousd: what its deployment would have charged for the answer."""

    route: str
    cache: str
    outcome: str
    deployment: str = ""
    saved_nanousd: int = 0


class OperationAccount(msgspec.Struct, frozen=True, kw_only=True):
    """One call that asked a provider. error: why it was not answered, or empty. Tokens None: nobody knows."""

    operation: str
    provider: str
    model: str
    error: str
    latency_s: float
    input_tokens: int | None = None
    output_tokens: int | None = None


class Names:
    """The values of one label: at most so many, and `other` for all that come later."""

    def __init__(self, limit: int, known: set[str]) -> None:
        self._limit = limit
        self._known = known

    def of(self, name: str) -> str:
        """The name under which this one is counted."""
        if name in self._known:
            return name
        if len(self._known) >= self._limit:
            return OTHER
        self._known.add(name)
        return name


class Asked:
    """The series of one deployment and operation, looked up once for all its calls.

    Those of the usual path are there from its first call on, so that their rates begin at zero.
    """

    def __init__(self, tally: Tally, operation: str, provider: str, model: str, name: str) -> None:
        """name: `provider:model`; this and they are `other` for all that are beyond the bound."""
        self.name = name
        self.gen_ai = (operation, WELL_KNOWN_PROVIDERS.get(provider, provider), model)
        self.answered = tally.count(its.ATTEMPTS, name, OK, "false")
        self.attempt_duration = tally.spread(its.ATTEMPT_DURATION, name)
        self.first_chunk = tally.spread(its.FIRST_CHUNK, *self.gen_ai)
        self.chunk_gap = tally.spread(its.CHUNK_GAP, *self.gen_ai)
        self.duration = tally.spread(its.OPERATION_DURATION, *self.gen_ai, "")
        self.input_tokens = tally.spread(its.TOKEN_USAGE, *self.gen_ai, "input")
        self.output_tokens = tally.spread(its.TOKEN_USAGE, *self.gen_ai, "output")
        # People are woken by their first rise.
        self.overruns = tally.count(its.OVERRUNS, name)
        self.wasted = tally.count(its.WASTED, name)
        self.tokens: dict[str, Count] = {}
        self.costs: dict[str, Count] = {}


class Recorder:
    """What a process counts. For the event loop's thread."""

    def __init__(self, tally: Tally | None = None) -> None:
        self.tally = tally or Tally()
        self._names = {label: Names(limit, self.tally.values_of(label)) for label, limit in LIMITS.items()}
        self._asked: dict[tuple[str, str, str], Asked] = {}
        self._ended: dict[tuple[str, str, str], Count] = {}
        self._requests: dict[tuple[str, str, int], Spread] = {}
        self._in_flight = self.tally.count(its.IN_FLIGHT)
        # As with `Asked`: there before the first one, so that its rate begins at zero.
        for operation, outcome in (("find", "found"), ("keep", "kept")):
            self.tally.count(its.CACHE_SERVER, operation, outcome)

    def attempt(self, it: AttemptAccount) -> None:
        """Count an attempt, its tokens and its cost."""
        tally, asked = self.tally, self._asked_of(it.operation, it.provider, it.model)
        if it.outcome == OK and not it.is_hedge:
            asked.answered.add()
        else:
            tally.count(its.ATTEMPTS, asked.name, it.outcome, "true" if it.is_hedge else "false").add()
        if it.outcome == OK:
            asked.attempt_duration.observe(it.latency_s)
            if it.ttft_s is not None:
                asked.first_chunk.observe(it.ttft_s)
            if it.gaps is not None:
                asked.chunk_gap.observe_least(it.gaps.short, it.gaps.short_s)
                for gap_s in it.gaps.long_s:
                    asked.chunk_gap.observe(gap_s)
        for name, tokens in it.tokens.items():
            count = asked.tokens.get(name)
            if count is None:
                count = asked.tokens[name] = tally.count(its.TOKENS, asked.name, name)
            count.add(tokens)
        if it.cost_nanousd:
            self._charge(asked, it)
        if it.overran:
            asked.overruns.add()

    def _charge(self, asked: Asked, it: AttemptAccount) -> None:
        cost_usd = it.cost_nanousd / NANOUSD_PER_USD
        count = asked.costs.get(it.basis)
        if count is None:
            count = asked.costs[it.basis] = self.tally.count(its.COST, asked.name, it.basis)
        count.add(cost_usd)
        self.tally.count(its.KEY_COST, self._names["key"].of(it.key)).add(cost_usd)
        if it.outcome != OK:
            asked.wasted.add(cost_usd)

    def call(self, it: CallAccount) -> None:
        """Count a call that was admitted, however it was answered."""
        ended = self._ended.get((it.route, it.cache, it.outcome))
        if ended is None:
            ended = self._ended_so(it)
        ended.add()
        if it.saved_nanousd:
            saved_usd = it.saved_nanousd / NANOUSD_PER_USD
            self.tally.count(its.SAVED, self._names["deployment"].of(it.deployment), it.cache).add(saved_usd)

    def _ended_so(self, it: CallAccount) -> Count:
        """Found once for all calls of a kind, for the routes that are told apart."""
        route = self._names["route"].of(it.route)
        ended = self.tally.count(its.CALLS, route, it.cache, it.outcome)
        if route == it.route:
            self._ended[it.route, it.cache, it.outcome] = ended
        return ended

    def operation(self, it: OperationAccount) -> None:
        """Count a call as the GenAI conventions have it: once, whatever it took."""
        asked = self._asked_of(it.operation, it.provider, it.model)
        if it.error:
            self.tally.spread(its.OPERATION_DURATION, *asked.gen_ai, it.error).observe(it.latency_s)
        else:
            asked.duration.observe(it.latency_s)
        if it.input_tokens is not None:
            asked.input_tokens.observe(it.input_tokens)
        if it.output_tokens is not None:
            asked.output_tokens.observe(it.output_tokens)

    def request(self, method: str, route: str, status: int, error_code: str, took_s: float) -> None:
        """Count an HTTP request. route: its template; error_code: of the problem it was answered with, or empty."""
        durations = self._requests.get((method, route, status))
        if durations is None:
            durations = self._durations_of(method, route, status)
        durations.observe(took_s)
        if error_code:
            self.tally.count(its.REFUSALS, self._names["code"].of(error_code)).add()

    def _durations_of(self, method: str, route: str, status: int) -> Spread:
        """Found once for all requests of a kind, for the names that are told apart."""
        known = method if method in HTTP_METHODS else "_OTHER"
        name = self._names["http.route"].of(route)
        durations = self.tally.spread(its.HTTP_DURATION, known, name, str(status))
        if known == method and name == route:
            self._requests[method, route, status] = durations
        return durations

    def calls_in_flight(self, count: int) -> None:
        """So many calls are in progress now."""
        self._in_flight.set(count)

    def batch(self, writes: int, waited_s: float, took_s: float) -> None:
        """Count a commit of the ledger: how many writes shared it, and its times."""
        self.tally.spread(its.BATCH).observe(writes)
        self.tally.spread(its.QUEUE_WAIT).observe(waited_s)
        self.tally.spread(its.COMMIT).observe(took_s)

    def cache_server(self, operation: str, outcome: str) -> None:
        """Count a request to the cache server."""
        self.tally.count(its.CACHE_SERVER, operation, outcome).add()

    def _asked_of(self, operation: str, provider: str, model: str) -> Asked:
        asked = self._asked.get((operation, provider, model))
        if asked is None:
            name = self._names["deployment"].of(f"{provider}:{model}")
            if name == OTHER and model != OTHER:
                return self._asked_of(operation, OTHER, OTHER)
            asked = self._asked[operation, provider, model] = Asked(self.tally, operation, provider, model, name)
        return asked
