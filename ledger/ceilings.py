"""Ceilings: the most that may be held plus spent in one scope and window. Pure rules over wall time in milliseconds."""

import datetime
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final, Literal

import msgspec

Window = Literal["minute", "hour", "day", "month", "total"]
WhenTight = Literal["refuse", "wait", "clamp"]
Unit = Literal["usd", "tokens", "calls"]
# What a ceiling adds up, and what its amounts are in. `calls` are counted once however many attempts they take; where a
# ceiling is a deployment's or provider's, which knows of attempts alone, each of these counts that was sent.
Counts = Literal["nanousd", "tokens", "calls", "attempts"]

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
# Whose ceilings a table keeps at hand; beyond it begins anew.
FOUND_KEPT: Final = 1024
NEVER_MS: Final = 1 << 62
HELD_IS_BELIEVED_MS: Final = 5000
# The least patient of them decides.
STRICTNESS: Final[tuple[WhenTight, ...]] = ("refuse", "clamp", "wait")
UNIT_OF: Final[dict[Counts, Unit]] = {"nanousd": "usd", "tokens": "tokens", "calls": "calls", "attempts": "calls"}
# Of what is spent. A limit by the minute is a rate: it is reached as a matter of course, and calls nobody unasked.
USUAL_SHARES: Final = (0.8, 1.0)
_OF_DEPLOYMENTS: Final = frozenset({"provider", "model"})


class Ceiling(msgspec.Struct, frozen=True, kw_only=True):
    """One limit. scope: `global`, `provider:P`, `model:P:M`, `key:ID`, `team:T`, `user:U`, `workflow:W` or `run:R`.

    limit: in nano-dollars where the unit is `usd`, else in the unit; one scope and window may have one in each.
    A template, `key:*`, gives every key a ceiling of its own, but for those that are named. when_tight: what becomes of
    a call that does not fit. downgrade_at: the share of it, held and spent, from which on routes prefer their cheaper
    targets; None: they never do for it. warn_at: the shares of it that people are told of once they are spent; None:
    the usual ones.
    """

    scope: str
    window: Window
    limit: int
    unit: Unit = "usd"
    when_tight: WhenTight = "refuse"
    downgrade_at: float | None = None
    warn_at: tuple[float, ...] | None = None

    @property
    def id(self) -> str:
        """Its name in the tables: one scope has at most one ceiling a window and unit."""
        return ceiling_id(self.scope, self.window, self.unit)

    @property
    def counts(self) -> Counts:
        """What it adds up."""
        match self.unit:
            case "usd":
                return "nanousd"
            case "tokens":
                return "tokens"
            case "calls":
                return "attempts" if kind_of(self.scope) in _OF_DEPLOYMENTS else "calls"

    @property
    def shares(self) -> tuple[float, ...]:
        """The shares of it that people are told of."""
        if self.warn_at is None:
            return () if self.window == "minute" else USUAL_SHARES
        return self.warn_at

    @property
    def is_template(self) -> bool:
        """Whether it stands for a ceiling for each name of its kind."""
        return is_template(self.scope)

    def named(self, scope: str) -> "Ceiling":
        """The ceiling of one name, from its template."""
        return msgspec.structs.replace(self, scope=scope)


class CeilingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A ceiling in its current window. ends_at_ms None: it never ends. Amounts as in `Ceiling`.

    warn_at: the shares of it that people are told of once they are spent. sliced: how much of what is held processes
    keep for calls to come.
    """

    scope: str
    window: Window
    unit: Unit
    limit: int
    spent: int
    held: int
    starts_at_ms: int
    ends_at_ms: int | None
    warn_at: tuple[float, ...] = ()
    sliced: int = 0

    @property
    def id(self) -> str:
        """The ceiling's name in the tables."""
        return ceiling_id(self.scope, self.window, self.unit)


class CeilingTable:
    """The ceilings in force, found by scope. A call asks for its own several times: those found last are kept."""

    def __init__(self, ceilings: Iterable[Ceiling]) -> None:
        self._by_scope: dict[str, dict[tuple[Window, Unit], Ceiling]] = {}
        self._templates: dict[str, dict[tuple[Window, Unit], Ceiling]] = {}
        for ceiling in ceilings:
            what = (ceiling.window, ceiling.unit)
            if ceiling.is_template:
                self._templates.setdefault(kind_of(ceiling.scope), {})[what] = ceiling
            else:
                self._by_scope.setdefault(ceiling.scope, {})[what] = ceiling
        self._kinds = {kind_of(scope) for scope in (*self._by_scope, *self._templates)}
        self._found: dict[tuple[str, tuple[tuple[str, str], ...]], tuple[Ceiling, ...]] = {}

    def for_attempt(self, deployment: str, attribution: Mapping[str, str]) -> tuple[Ceiling, ...]:
        """Every ceiling that an attempt at this deployment counts against. For any thread."""
        if not self._kinds:
            return ()
        # What no ceiling is for makes no difference: a run, say, is another one with every call.
        who = tuple([(kind, name) for kind, name in attribution.items() if name and kind in self._kinds])
        found = self._found.get((deployment, who))
        if found is None:
            found = tuple(self._applying(deployment, dict(who)))
            if len(self._found) >= FOUND_KEPT:
                self._found.clear()
            self._found[deployment, who] = found
        return found

    def _applying(self, deployment: str, attribution: Mapping[str, str]) -> Iterator[Ceiling]:
        for scope in scopes_of(deployment, attribution):
            if self._templates or scope in self._by_scope:
                yield from self._of_scope(scope)

    def names(self, scope: str) -> bool:
        """Whether one of them is of exactly this scope."""
        return scope in self._by_scope

    def _of_scope(self, scope: str) -> Iterable[Ceiling]:
        named = self._by_scope.get(scope, {})
        yield from named.values()
        for what, template in self._templates.get(kind_of(scope), {}).items():
            if what not in named:
                yield template.named(scope)


class Span(msgspec.Struct, frozen=True):
    """A window's first millisecond and the one after its last. ends_at_ms None: it never ends."""

    starts_at_ms: int
    ends_at_ms: int | None


def window_span(window: Window, at_ms: int) -> Span:
    """The window that this moment falls into, in UTC. Months are calendar months."""
    match window:
        case "minute":
            return _even_span(MINUTE_MS, at_ms)
        case "hour":
            return _even_span(HOUR_MS, at_ms)
        case "day":
            return _even_span(DAY_MS, at_ms)
        case "month":
            return _month_span(at_ms // DAY_MS)
        case "total":
            return Span(0, None)


def pressed_until_ms(ceiling: Ceiling, span: Span, *, held: int, spent: int, now_ms: int) -> int:
    """Until when a ceiling that stands so is taken to be beyond its `downgrade_at`, unless it is looked at sooner.

    What is spent stays so until the window ends; what is held may settle for less. 0: it is not beyond it.
    """
    if ceiling.downgrade_at is None:
        return 0
    bound = ceiling.downgrade_at * ceiling.limit
    ends_at_ms = NEVER_MS if span.ends_at_ms is None else span.ends_at_ms
    if spent >= bound:
        return ends_at_ms
    return min(now_ms + HELD_IS_BELIEVED_MS, ends_at_ms) if held + spent >= bound else 0


@lru_cache(maxsize=16)
def _month_span(day: int) -> Span:
    """The month that this day falls into, counted from 1970. Every admission under such a ceiling asks for it."""
    first = datetime.datetime.fromtimestamp(day * DAY_MS / 1000, datetime.UTC).replace(day=1)
    following = (first + datetime.timedelta(days=32)).replace(day=1)
    return Span(int(first.timestamp()) * 1000, int(following.timestamp()) * 1000)


def _even_span(length_ms: int, at_ms: int) -> Span:
    starts_at_ms = at_ms - at_ms % length_ms
    return Span(starts_at_ms, starts_at_ms + length_ms)


def scopes_of(deployment: str, attribution: Mapping[str, str]) -> Iterable[str]:
    """The scopes that pay for an attempt at `provider:model` on behalf of these (`key`, `team`, …; empty: nobody)."""
    yield "global"
    yield f"provider:{deployment.partition(':')[0]}"
    yield f"model:{deployment}"
    for kind, name in attribution.items():
        if name:
            # Someone who calls himself "*" is not everyone, nor is he who calls himself as that is written here.
            yield f"{kind}:\\{name}" if name.lstrip("\\") == "*" else f"{kind}:{name}"


def ceiling_id(scope: str, window: str, unit: Unit) -> str:
    """`day user:u1`, and `tokens/day user:u1` in another unit than dollars."""
    return f"{window} {scope}" if unit == "usd" else f"{unit}/{window} {scope}"


def kind_of(scope: str) -> str:
    """`key` of `key:ID`."""
    return scope.partition(":")[0]


def is_template(scope: str) -> bool:
    """Whether it is `KIND:*`. A name that merely ends so, `user:a:*`, is a name."""
    return scope == f"{kind_of(scope)}:*"


def strictest(wishes: Iterable[WhenTight]) -> WhenTight:
    """What becomes of a call that several ceilings have no room for: to be refused before clamped before waiting."""
    return min(wishes, key=STRICTNESS.index)
