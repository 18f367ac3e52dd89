"""What must hold between the sections of a config. Pure: returns every problem."""

import ipaddress
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from ledger.money import parse_usd
from service.config.model import CeilingSection, Config, ModelSection, ProviderSection
from service.config.problems import Problem


def problems_of(config: Config) -> Iterator[Problem]:
    """Every rule that this config breaks."""
    if not is_loopback(config.server.host):
        text = f"{config.server.host} can be reached from outside, and this version has no keys: use 127.0.0.1"
        yield Problem("server.host", text)
    scheme, _, rest = config.ledger.url.partition(":")
    if scheme != "sqlite" or not rest:
        yield Problem("ledger.url", f"{config.ledger.url!r} is not supported by this version; write sqlite:farthing.db")
    yield from _repeated("providers", "name", (provider.name for provider in config.providers))
    yield from _repeated("routes", "name", (route.name for route in config.routes))
    yield from _repeated("models", "id", (model.id for model in config.models))
    yield from _repeated("ceilings", "scope", (f"{ceiling.scope} ({ceiling.window})" for ceiling in config.ceilings))
    for index, provider in enumerate(config.providers):
        yield from _provider_problems(f"providers[{index}]", provider)
    names = {provider.name for provider in config.providers}
    for index, route in enumerate(config.routes):
        for number, target in enumerate(route.targets):
            yield from _deployment_problems(f"routes[{index}].targets[{number}]", target, names)
    for index, model in enumerate(config.models):
        yield from _deployment_problems(f"models[{index}].id", model.id, names)
        yield from _price_problems(f"models[{index}]", model)
    for index, ceiling in enumerate(config.ceilings):
        yield from _ceiling_problems(f"ceilings[{index}]", ceiling, names)


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _repeated(place: str, key: str, names: Iterable[str]) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield Problem(f"{place}[{index}].{key}", f"{name} is there twice")
        seen.add(name)


def _provider_problems(place: str, provider: ProviderSection) -> Iterator[Problem]:
    if provider.dialect == "local":
        if provider.base_url is not None:
            yield Problem(f"{place}.base_url", "a local provider runs its own server; leave it out")
        return
    if provider.model_path is not None:
        yield Problem(f"{place}.model_path", 'only for dialect = "local"')
    if provider.base_url is None:
        yield Problem(place, "base_url is missing")
        return
    try:
        parts = urlsplit(provider.base_url)
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_url = False
    if not is_url:
        yield Problem(f"{place}.base_url", f"{provider.base_url!r} is no http:// or https:// address")


def _deployment_problems(place: str, deployment: str, providers: set[str]) -> Iterator[Problem]:
    provider, _, model = deployment.partition(":")
    if not provider or not model:
        yield Problem(place, f"{deployment!r} must be written provider:model")
    elif provider not in providers:
        known = ", ".join(sorted(providers)) or "none"
        yield Problem(place, f"there is no provider {provider!r}; there are: {known}")


def _price_problems(place: str, model: ModelSection) -> Iterator[Problem]:
    amounts = {name: getattr(model, name) for name in model.__struct_fields__ if name.endswith("_usd_per_mtok")}
    given = {name: amount for name, amount in amounts.items() if amount is not None}
    for name, amount in given.items():
        yield from _money_problems(f"{place}.{name}", amount)
    if given and not {"input_usd_per_mtok", "output_usd_per_mtok"} <= given.keys():
        yield Problem(place, "a price needs both input_usd_per_mtok and output_usd_per_mtok")


def _ceiling_problems(place: str, ceiling: CeilingSection, providers: set[str]) -> Iterator[Problem]:
    yield from _money_problems(f"{place}.limit_usd", ceiling.limit_usd)
    kind, _, name = ceiling.scope.partition(":")
    if ceiling.scope == "global":
        return
    if kind in {"key", "team", "user", "workflow", "run"} and name:
        yield Problem(f"{place}.scope", f"{kind}: is not supported by this version")
    elif kind == "provider" and name:
        if name not in providers:
            yield Problem(f"{place}.scope", f"there is no provider {name!r}")
    elif kind == "model" and name:
        yield from _deployment_problems(f"{place}.scope", name, providers)
    else:
        yield Problem(f"{place}.scope", f"{ceiling.scope!r} must be global, provider:P or model:P:M")


def _money_problems(place: str, amount: str) -> Iterator[Problem]:
    try:
        parse_usd(amount)
    except ValueError as error:
        yield Problem(place, str(error))
