"""What must hold in and between the sections of a config, beyond the types of their keys. Pure."""

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Final

from ledger.errors import NotALedger
from ledger.money import parse_usd
from ledger.url import is_on_server, server_of
from ledger.valkey.address import NotACacheServer, cache_server_of
from router.capabilities import CAPABILITIES
from service.config.addresses import address_problems
from service.config.alerts import alert_problems
from service.config.limits import limit_of, name_of
from service.config.model import (
    TRACE_ID,
    CeilingSection,
    Config,
    ModelSection,
    ReconcileSection,
    RouteSection,
    ServerSection,
)
from service.config.names import MAX_MODEL_CHARS, is_loopback, is_model_name
from service.config.problems import Problem
from service.config.providers import provider_problems
from service.exports import COLUMNS, NEEDED

# Whose names are the callers' own, and not known here.
_CALLERS_SCOPES: Final = {"key", "team", "user", "workflow", "run"}
_SCOPES: Final = "provider:P, model:P:M, key:ID, team:T, user:U, workflow:W and run:R; * for each name"


def problems_of(config: Config) -> Iterator[Problem]:
    """Every rule that this config breaks."""
    providers = {provider.name for provider in config.providers}
    yield from _server_problems(config.server)
    yield from _ledger_problems(config.ledger.url)
    yield from _cache_problems(config.cache.url)
    yield from _repeated("providers", "name", (provider.name for provider in config.providers))
    yield from _repeated("models", "id", (model.id for model in config.models))
    yield from _repeated("routes", "name", (route.name for route in config.routes))
    yield from _repeated("ceilings", "scope", map(name_of, config.ceilings))
    for index, provider in enumerate(config.providers):
        yield from provider_problems(f"providers[{index}]", provider)
    for index, model in enumerate(config.models):
        yield from _model_problems(f"models[{index}]", model, providers)
    for index, route in enumerate(config.routes):
        yield from _route_problems(f"routes[{index}]", route, providers)
    for index, ceiling in enumerate(config.ceilings):
        yield from _ceiling_problems(f"ceilings[{index}]", ceiling, providers)
    for index, export in enumerate(config.reconcile):
        yield from _reconcile_problems(f"reconcile[{index}]", export, providers)
    yield from alert_problems(config.alerts)
    if endpoint := config.telemetry.otlp_endpoint:
        yield from address_problems("telemetry.otlp_endpoint", endpoint)
    if url := config.telemetry.public_url:
        yield from address_problems("telemetry.public_url", url)
    if viewer := config.telemetry.trace_url:
        yield from address_problems("telemetry.trace_url", viewer.partition("?")[0])
        if TRACE_ID not in viewer:
            yield Problem("telemetry.trace_url", f"has no {TRACE_ID} in it, which the id is put in the place of")


def needs_keys(server: ServerSection) -> bool:
    """Whether nobody is answered without a key."""
    return server.auth == "required" or (server.auth == "auto" and not is_loopback(server.host))


def _server_problems(server: ServerSection) -> Iterator[Problem]:
    if not server.host.strip():
        yield Problem("server.host", "is empty; 127.0.0.1 is this machine alone, 0.0.0.0 every address that it has")
    elif server.auth == "off" and not is_loopback(server.host):
        text = f"off is for this machine alone, and {server.host!r} can be reached from outside; leave it at auto"
        yield Problem("server.auth", text)


def _ledger_problems(url: str) -> Iterator[Problem]:
    # Whatever else the address holds may be a password.
    scheme, _, path = url.partition(":")
    if is_on_server(url):
        if not path.startswith("//"):
            yield Problem("ledger.url", "must be an address, written postgresql://user@host/database")
            return
        try:
            server_of(url)
        except NotALedger as error:
            yield Problem("ledger.url", str(error))
    elif scheme != "sqlite" or not path:
        text = "must be a file, written sqlite:farthing.db, or a database, written postgresql://user@host/database"
        yield Problem("ledger.url", text)
    elif path.startswith(":"):
        yield Problem("ledger.url", "must be a file: what is kept in memory is no ledger")
    elif path.startswith("//") and not path.startswith("///"):
        yield Problem(
            "ledger.url", "a path follows the colon at once: sqlite:farthing.db, or sqlite:/var/lib/farthing.db"
        )


def _cache_problems(url: str) -> Iterator[Problem]:
    if not url:
        return
    try:
        cache_server_of(url)
    except NotACacheServer as error:
        yield Problem("cache.url", str(error))
    else:
        if find_spec("valkey") is None:
            yield Problem("cache.url", "needs a package more: pip install 'farthing[valkey]'")


def _model_problems(place: str, model: ModelSection, providers: set[str]) -> Iterator[Problem]:
    yield from _deployment_problems(f"{place}.id", model.id, providers)
    for index, name in enumerate(model.supports or ()):
        if name not in CAPABILITIES:
            known = ", ".join(sorted(CAPABILITIES))
            yield Problem(f"{place}.supports[{index}]", f"{name!r} is no capability; there are {known}")
    amounts = {name: getattr(model, name) for name in model.__struct_fields__ if name.endswith("_usd_per_mtok")}
    given = {name: amount for name, amount in amounts.items() if amount is not None}
    for name, amount in given.items():
        yield from _money_problems(f"{place}.{name}", amount)
    if given:
        for name in ("input_usd_per_mtok", "output_usd_per_mtok"):
            if name not in given:
                yield Problem(f"{place}.{name}", "is missing: a price has both input and output")


def _route_problems(place: str, route: RouteSection, providers: set[str]) -> Iterator[Problem]:
    if not 0 < len(route.name.strip()) == len(route.name) <= MAX_MODEL_CHARS or not route.name.isprintable():
        yield Problem(f"{place}.name", f"{route.name!r} must be a plain name of at most {MAX_MODEL_CHARS} characters")
    if not route.targets:
        yield Problem(f"{place}.targets", "must name at least one provider:model")
    yield from _repeated(f"{place}.targets", "", route.targets)
    if route.weights and len(route.weights) != len(route.targets):
        text = f"there are {len(route.weights)}, but the route has {len(route.targets)} targets"
        yield Problem(f"{place}.weights", text)
    for index, target in enumerate(route.targets):
        yield from _deployment_problems(f"{place}.targets[{index}]", target, providers)


def _ceiling_problems(place: str, ceiling: CeilingSection, providers: set[str]) -> Iterator[Problem]:
    yield from _limit_problems(place, ceiling)
    kind, _, name = ceiling.scope.partition(":")
    # A pattern taken for a name would be a ceiling that nobody is ever under.
    if name.endswith("*") and name != "*":
        yield Problem(
            f"{place}.scope",
            f"{ceiling.scope!r}: a * stands alone, as in {kind}:*, or for a provider's models provider:P",
        )
    elif kind in _CALLERS_SCOPES and name:
        if not name.isprintable():
            yield Problem(f"{place}.scope", f"{ceiling.scope!r} has a character in it that no caller's name has")
    elif name == "*" and kind in {"provider", "model"}:
        return
    elif kind == "provider" and name:
        if not _may_be_there(name, providers):
            yield _unknown_provider(f"{place}.scope", name, providers)
    elif kind == "model" and name:
        yield from _deployment_problems(f"{place}.scope", name, providers)
    elif ceiling.scope != "global":
        yield Problem(f"{place}.scope", f"{ceiling.scope!r} must be global, or one of {_SCOPES}")


def _limit_problems(place: str, ceiling: CeilingSection) -> Iterator[Problem]:
    key = "limit" if ceiling.limit_usd is None else "limit_usd"
    if ceiling.limit_usd is None and ceiling.limit is None:
        wanted = 'limit_usd = "100", or a unit and its limit' if ceiling.unit == "usd" else f"so many {ceiling.unit}"
        yield Problem(f"{place}.{'limit_usd' if ceiling.unit == 'usd' else 'limit'}", f"is missing: {wanted}")
    elif ceiling.limit_usd is not None and (ceiling.limit is not None or ceiling.unit != "usd"):
        yield Problem(f"{place}.limit_usd", 'stands for unit = "usd" and its limit; say it the one way or the other')
    else:
        try:
            limit_of(ceiling)
        except ValueError as error:
            yield Problem(f"{place}.{key}", str(error))
    if ceiling.unit == "calls" and ceiling.when_tight == "clamp":
        yield Problem(f"{place}.when_tight", "a call cannot be made smaller: choose refuse or wait")
    if ceiling.unit != "usd" and ceiling.downgrade_at is not None:
        yield Problem(f"{place}.downgrade_at", "is for dollars: a cheaper target takes no fewer tokens or calls")


def _reconcile_problems(place: str, export: ReconcileSection, providers: set[str]) -> Iterator[Problem]:
    if not _may_be_there(export.provider, providers):
        yield _unknown_provider(f"{place}.provider", export.provider, providers)
    for name in export.columns:
        if name not in COLUMNS:
            yield Problem(f"{place}.columns.{name}", f"is none of {', '.join(COLUMNS)}")
    for name in NEEDED:
        if name not in export.columns:
            yield Problem(f"{place}.columns.{name}", "is missing")


def _deployment_problems(place: str, deployment: str, providers: set[str]) -> Iterator[Problem]:
    provider, _, model = deployment.partition(":")
    if not provider or not is_model_name(model):
        yield Problem(place, f"{deployment!r} must be written provider:model")
    elif not _may_be_there(provider, providers):
        yield _unknown_provider(place, provider, providers)


def _may_be_there(provider: str, providers: set[str]) -> bool:
    """Whether it is one of them. One without a readable name could be any."""
    return provider in providers or "" in providers


def _unknown_provider(place: str, name: str, providers: set[str]) -> Problem:
    known = f"there are {', '.join(sorted(providers))}" if providers else "there are none"
    return Problem(place, f"there is no provider {name!r}; {known}")


def _repeated(place: str, key: str, names: Iterable[str]) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield Problem(f"{place}[{index}].{key}".removesuffix("."), f"{name!r} is there twice")
        seen.add(name)


def _money_problems(place: str, amount: str) -> Iterator[Problem]:
    try:
        parse_usd(amount)
    except ValueError as error:
        yield Problem(place, str(error))
