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


@dataclass
class Attempt:
    scopes: set
    held: int
    taken_ms: int
    owner: str
    counts_under: set
    state: str = "open"
    lines: list = field(default_factory=list)


class Oracle:
    def __init__(self):
        self.limits = {}  # {(scope, window): limit} of the ceilings in force
        self.attempts = {}
        self.leases = {}
        self.flights = {}  # {key: (generation, owner)}
        self.stored = {}  # {key: (cost, expires_at_ms)}
        self.generations, self.saved = set(), 0

    def put_in_force(self, limits, now_ms):
        """A ceiling counts what is taken while it is in force, and from the window on that it comes into force in."""
        for scope, window in set(limits) - set(self.limits):
            for attempt in self.attempts.values():
                if scope in attempt.scopes and stamp(window, attempt.taken_ms) >= stamp(window, now_ms):
                    attempt.counts_under.add((scope, window))
        self.limits = limits

    def counted(self, scope, window, now_ms):
        """(held, spent) of every attempt that this ceiling counts in the window of now."""
        here = [
            attempt
            for attempt in self.attempts.values()
            if (scope, window) in attempt.counts_under and stamp(window, attempt.taken_ms) == stamp(window, now_ms)
        ]
        held = sum(attempt.held for attempt in here if attempt.state == "open")
        return held, sum(sum(attempt.lines) for attempt in here)

    def tight(self, scopes, asked, now_ms):
        """Every ceiling that this hold does not fit under: {(scope, window): (limit, held, spent)}."""
        found = {}
        for (scope, window), limit in self.limits.items():
            held, spent = self.counted(scope, window, now_ms)
            if asked and scope in scopes and held + spent + asked > limit:
                found[scope, window] = (limit, held, spent)
        return found

    def look_up(self, key, now_ms):
        """What an equal call would be given: ("hit", its cost), ("follow", whom), or nothing."""
        if key in self.stored and self.stored[key][1] > now_ms:
            return "hit", self.stored[key][0]
        if key in self.flights and self.leases.get(self.flights[key][1], 0) > now_ms:
            return "follow", self.flights[key][0]
        return None

    def take(self, hold_id, scopes, held, now_ms, owner):
        assert self.leases[owner] >= now_ms, "taken without a lease"
        counts_under = {place for place in self.limits if place[0] in scopes}
        self.attempts[hold_id] = Attempt(scopes, held, now_ms, owner, counts_under)

    def close(self, hold_id, cost):
        """False: it stands settled with another amount. cost None: given back."""
        attempt, amount = self.attempts[hold_id], cost or 0
        if attempt.state == "open":
            attempt.state = "closed"
            attempt.lines += [] if cost is None else [cost]
        elif attempt.state == "lapsed":
            attempt.state = "closed"
            attempt.lines.append(amount - attempt.held)
        return sum(attempt.lines) == amount

    def land(self, key, generation, cost, expires_at_ms):
        """A flight ends: its answer (cost None: there is none) is kept if the flight was still its own."""
        if self.flights.get(key, ("",))[0] == generation:
            del self.flights[key]
            if cost is not None:
                self.stored[key] = (cost, expires_at_ms)

    def sweep(self, now_ms):
        dead = {owner for owner, until_ms in self.leases.items() if until_ms < now_ms}
        self.flights = {key: flight for key, flight in self.flights.items() if flight[1] not in dead}
        for attempt in self.attempts.values():
            if attempt.owner in dead and attempt.state == "open":
                attempt.state, attempt.lines = "lapsed", [attempt.held]
        self.leases |= dict.fromkeys(dead, 0)  # Over for good, whatever the clock does next.

    @property
    def total(self):
        """{measure of the spend report: what it comes to over all time}."""
        return {
            "cost_nanousd": sum(sum(attempt.lines) for attempt in self.attempts.values()),
            "held_nanousd": sum(attempt.held for attempt in self.attempts.values() if attempt.state == "open"),
            "saved_nanousd": self.saved,
            "generations": len(self.generations),
        }
