"""A second ledger in a hundred lines: everything in dicts, every sum taken anew, shares only values with the first.

What it cannot know it is told: ids, and the clock. It knows no windows, only that two moments fall into the same one.
"""

import math
import time
from dataclasses import dataclass, field
from fractions import Fraction

LENGTHS = {"minute": 16, "hour": 13, "day": 10, "month": 7, "total": 0}
LEASE_MS = 15_000


def stamp(window, at_ms):
    """Equal for two moments of one window."""
    return time.strftime("%Y-%m-%dT%H:%M", time.gmtime(at_ms // 1000))[: LENGTHS[window]]


def exact_cost(usage, rates):
    """Each class of tokens at its rate (nano-dollars per million), rounded up by itself."""
    return sum(math.ceil(Fraction(getattr(usage, name) * rate, 10**6)) for name, rate in rates.items())


def ask(bid, number, scope, unit):
    """What an attempt takes under a ceiling: a deployment counts each one, everybody else a call once."""
    is_counted = scope.startswith(("provider:", "model:")) or number == 1
    return {"usd": bid.held_nanousd, "tokens": bid.held_tokens, "calls": int(is_counted)}[unit]


@dataclass
class Attempt:
    scopes: set
    bid: object
    number: int
    taken_ms: int
    owner: str
    counts_under: set
    state: str = "open"
    was_sent: bool = True
    lines: list = field(default_factory=list)
    tokens: list = field(default_factory=list)

    def held_and_spent(self, scope, unit):
        asked = ask(self.bid, self.number, scope, unit)
        if self.state == "open":
            return asked, 0
        if unit == "calls":
            is_deployments = scope.startswith(("provider:", "model:"))
            return 0, asked if self.was_sent or not is_deployments else 0
        return 0, sum(self.lines if unit == "usd" else self.tokens)


class Oracle:
    def __init__(self):
        self.limits = {}  # {(scope, window, unit): limit} of the ceilings in force
        self.attempts = {}
        self.leases = {}
        self.flights = {}  # {key: (generation, owner)}
        self.stored = {}  # {key: (cost, expires_at_ms)}
        self.stored_by = {}
        self.generations, self.saved = set(), 0

    def put_in_force(self, limits, now_ms):
        """A ceiling counts what is taken while it is in force, and from the window on that it comes into force in."""
        for scope, window, unit in set(limits) - set(self.limits):
            for attempt in self.attempts.values():
                if scope in attempt.scopes and stamp(window, attempt.taken_ms) >= stamp(window, now_ms):
                    attempt.counts_under.add((scope, window, unit))
        self.limits = limits

    def counted(self, scope, window, unit, now_ms):
        """(held, spent) of every attempt that this ceiling counts in the window of now."""
        here = [
            attempt.held_and_spent(scope, unit)
            for attempt in self.attempts.values()
            if (scope, window, unit) in attempt.counts_under
            and stamp(window, attempt.taken_ms) == stamp(window, now_ms)
        ]
        return sum(held for held, _ in here), sum(spent for _, spent in here)

    def tight(self, scopes, bid, number, now_ms):
        """Every ceiling that this hold does not fit under: {(scope, window, unit): (limit, held, spent, asked)}."""
        found = {}
        for (scope, window, unit), limit in self.limits.items():
            held, spent = self.counted(scope, window, unit, now_ms)
            asked = ask(bid, number, scope, unit)
            if asked and scope in scopes and held + spent + asked > limit:
                found[scope, window, unit] = (limit, held, spent, asked)
        return found

    def look_up(self, key, now_ms):
        """What an equal call would be given: ("hit", its cost), ("follow", whom), or nothing."""
        if key in self.stored and self.stored[key][1] > now_ms:
            return "hit", self.stored[key][0]
        if key in self.flights and self.leases.get(self.flights[key][1], 0) > now_ms:
            return "follow", self.flights[key][0]
        return None

    def take(self, hold_id, scopes, bid, number, now_ms, owner):
        assert self.leases[owner] >= now_ms, "taken without a lease"
        counts_under = {place for place in self.limits if place[0] in scopes}
        self.attempts[hold_id] = Attempt(scopes, bid, number, now_ms, owner, counts_under)

    def close(self, hold_id, cost, tokens, *, was_sent):
        """False: it stands settled with another amount. cost None: given back. tokens None: nobody knows."""
        attempt, amount = self.attempts[hold_id], cost or 0
        used = 0 if cost is None else attempt.bid.held_tokens if tokens is None else tokens
        if attempt.state == "open":
            attempt.state, attempt.was_sent = "closed", was_sent
            attempt.lines += [] if cost is None else [cost]
            attempt.tokens.append(used)
        elif attempt.state == "lapsed":
            attempt.state = "closed"
            attempt.lines.append(amount - attempt.bid.held_nanousd)
            attempt.tokens.append(used - attempt.bid.held_tokens)
        return sum(attempt.lines) == amount

    def land(self, key, generation, cost, expires_at_ms):
        """A flight ends: its answer (cost None: there is none) is kept if the flight was still its own."""
        if self.flights.get(key, ("",))[0] == generation:
            del self.flights[key]
            if cost is not None:
                self.stored[key], self.stored_by[key] = (cost, expires_at_ms), generation

    def sweep(self, now_ms):
        dead = {owner for owner, until_ms in self.leases.items() if until_ms < now_ms}
        self.flights = {key: flight for key, flight in self.flights.items() if flight[1] not in dead}
        for attempt in self.attempts.values():
            if attempt.owner in dead and attempt.state == "open":
                attempt.state = "lapsed"
                attempt.lines, attempt.tokens = [attempt.bid.held_nanousd], [attempt.bid.held_tokens]
        self.leases |= dict.fromkeys(dead, 0)  # Over for good, whatever the clock does next.

    @property
    def total(self):
        """{measure of the spend report: what it comes to over all time}."""
        return {
            "cost_nanousd": sum(sum(attempt.lines) for attempt in self.attempts.values()),
            "held_nanousd": sum(it.bid.held_nanousd for it in self.attempts.values() if it.state == "open"),
            "saved_nanousd": self.saved,
            "generations": len(self.generations),
        }
