"""The settings beside the models: of LiteLLM itself, of its router, and of its server."""

from typing import Any, Final

from service.config.limits import MOST
from service.config.model import RouterSection
from service.litellm.amounts import dollars, seconds, whole
from service.litellm.deployments import MODELS, Fleet, own_place
from service.litellm.particulars import PARAMS, allowed_fails
from service.litellm.routes import LITELLM, ROUTER
from service.litellm.source import Place, Source
from service.litellm.toml import Table

GENERAL: Final = "general_settings"
# {a duration: the calendar window that comes nearest}
_WINDOWS: Final = {
    "60s": "minute", "1m": "minute",
    "60m": "hour", "1h": "hour", "3600s": "hour",
    "24h": "day", "1d": "day", "86400s": "day",
    "28d": "month", "30d": "month", "31d": "month", "1mo": "month", "720h": "month", "2592000s": "month",
}  # fmt: skip
_OFF: Final = "default_off"
_MODES: Final = (_OFF, "default_on")
_CALENDAR: Final = "Its windows are those of the calendar, in UTC; LiteLLM's begin with the first call."
_RATE: Final = "LiteLLM mostly prefers others from there on; here it is a limit, and the route's next one is asked."
_LIMITED: Final = "another entry limits the same deployment already"
_NO_WINDOW: Final = "no window here is as long: there are minute, hour, day, month and total"


def tables_of(source: Source, fleet: Fleet) -> list[Table]:
    """The tables that are there once."""
    return [table for table in (_server(source), _cache(source), _router(source, fleet)) if table is not None]


def _server(source: Source) -> Table | None:
    values: dict[str, Any] = {}
    notes = []
    if source.get(GENERAL, "master_key") is not None:
        # The key itself has no equivalent, and is told of at the end.
        values["auth"] = "required"
        notes.append("Nobody is answered without a key: make them with `farthing keys create`.")
    place = (GENERAL, "global_max_parallel_requests")
    if (most := whole(source.get(*place), 1_000_000)) is not None:
        values["max_in_flight"] = most
        source.use(*place)
    return Table(header="[server]", values=values, notes=notes) if values else None


def _cache(source: Source) -> Table:
    """LiteLLM stores nothing unless it is told to, and never lets equal calls share one."""
    said, mode = source.get(LITELLM, "cache"), source.get(LITELLM, "cache_params", "mode")
    if isinstance(said, bool):
        source.use(LITELLM, "cache")
    values: dict[str, Any] = {"enabled": False, "coalesce": False}
    notes = ["LiteLLM stores no answers unless it is told to."]
    if said is True and mode in _MODES:
        source.use(LITELLM, "cache_params", "mode")
        notes = [
            "LiteLLM's mode default_off stores only what a call asks for; here, only routes with cache = true store."
        ]
    if said is True and mode != _OFF:
        values, notes = {"enabled": True}, []
    ttl = (LITELLM, "cache_params", "ttl")
    if said is True and (ttl_s := whole(source.get(*ttl), 1_000_000_000)) is not None:
        values["ttl_s"] = ttl_s
        source.use(*ttl)
    return Table(header="[cache]", values=values, notes=notes)


def _router(source: Source, fleet: Fleet) -> Table | None:
    values: dict[str, Any] = {}
    notes = []
    # LiteLLM's timeouts are of attempts; over a whole call it has none, and ours must not end one before its time.
    if (deadline_ms := round(fleet.longest_s * 1000)) > RouterSection().deadline_ms:
        values["deadline_ms"] = deadline_ms
        notes.append("One deadline is over all attempts of a call. It is as long as the longest of them may take.")
    for section in (ROUTER, LITELLM):
        fails, fails_at = allowed_fails(source, (section,))
        if "breaker_threshold" not in values and fails is not None:
            values["breaker_threshold"] = fails
            source.use(*fails_at)
        cooldown_s = seconds(source.get(section, "cooldown_time"))
        if "breaker_cooldown_s" not in values and cooldown_s is not None:
            values["breaker_cooldown_s"] = cooldown_s
            source.use(section, "cooldown_time")
    return Table(header="[router]", values=values, notes=notes) if values else None


class Ceilings:
    """Budgets: of everything, of end users, of providers and of deployments. One scope has one limit a window."""

    def __init__(self, source: Source, fleet: Fleet) -> None:
        self._source = source
        self._seen: set[tuple[str, str, str]] = set()
        self.tables: list[Table] = []
        for section in (LITELLM, GENERAL):
            self._add("global", (section, "max_budget"), (section, "budget_duration"))
        self._add("user:*", (LITELLM, "max_end_user_budget"), (LITELLM, "end_user_budget_duration"))
        self._add_providers(fleet)
        for entry in fleet.entries:
            place = (MODELS, entry.index, PARAMS)
            self._add(f"model:{entry.target}", (*place, "max_budget"), (*place, "budget_duration"))
            self._add_rate(f"model:{entry.target}", "calls", own_place(source, entry.index, "rpm"))
            self._add_rate(f"model:{entry.target}", "tokens", own_place(source, entry.index, "tpm"))

    def _add_providers(self, fleet: Fleet) -> None:
        place = (ROUTER, "provider_budget_config")
        for vendor in self._source.table(*place):
            names, at = fleet.vendors.get(vendor, []), (*place, vendor)
            if len(names) != 1:
                text = f"there are {len(names)} providers of this kind here, and a ceiling is for one"
                self._source.explain(text, *at)
                continue
            limit = "budget_limit" if self._source.get(*at, "budget_limit") is not None else "max_budget"
            span = "time_period" if self._source.get(*at, "time_period") is not None else "budget_duration"
            self._add(f"provider:{names[0]}", (*at, limit), (*at, span))

    def _add(self, scope: str, limit_at: Place, span_at: Place) -> None:
        """A ceiling. LiteLLM's 0 is no limit in one place and no money in another, so it is left to people."""
        limit_usd, span = dollars(self._source.get(*limit_at)), self._source.get(*span_at)
        if limit_usd is None or limit_usd == "0":
            return
        window = "total" if span is None else _WINDOWS.get(str(span))
        if window is None or (scope, window, "usd") in self._seen:
            for place in (limit_at, span_at):
                self._source.explain(_NO_WINDOW if window is None else _LIMITED, *place)
            return
        self._seen.add((scope, window, "usd"))
        for place in (limit_at, span_at):
            self._source.use(*place)
        values = {"scope": scope, "window": window, "limit_usd": limit_usd}
        self.tables.append(Table(header="[[ceilings]]", values=values, notes=[_CALENDAR] if span is not None else []))

    def _add_rate(self, scope: str, unit: str, place: Place) -> None:
        """Calls or tokens a minute at one deployment."""
        limit = whole(self._source.get(*place), MOST)
        if limit is None:
            return
        if (scope, "minute", unit) in self._seen:
            self._source.explain(_LIMITED, *place)
            return
        self._seen.add((scope, "minute", unit))
        self._source.use(*place)
        values = {"scope": scope, "window": "minute", "unit": unit, "limit": limit}
        self.tables.append(Table(header="[[ceilings]]", values=values, notes=[_RATE]))
