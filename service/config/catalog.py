"""The config as the router knows it: providers, deployments with their prices, routes, ceilings."""

import datetime
from typing import Final
from urllib.parse import urlsplit

from ledger.ceilings import Ceiling
from ledger.money import parse_usd
from ledger.prices import FREE, Price, PriceBook, Tier
from router.breaker import BreakerRule
from router.capabilities import CAPABILITIES, VISION
from router.deployments import Deployment, HedgeRule, Provider, Route
from router.errors import UnknownModel
from router.registry import ModelFacts, facts_of
from router.tokens import encoding_for
from router.vendors import usual_of
from service.config.environment import DEFAULT_ROUTE
from service.config.limits import limit_of
from service.config.model import Config, ModelSection, ProviderSection, RouterSection, RouteSection
from service.config.names import is_model_name
from service.config.preferred import ALIASES

# What ends the names of rates in [[models]]; what is before it is the name of the rate in a `Tier`.
_RATE: Final = "_usd_per_mtok"
UNPRICED_FREE: Final = Price(version="unpriced: free", base=Tier())
MAX_DIRECT_ROUTES: Final = 10_000
# {dialect: whose prices hold for a model of exactly its name, at an address that the book does not know}
_VENDORS: Final = {"openai": "openai", "anthropic": "anthropic", "gemini": "google", "local": ""}
# Who answers `/v1/responses` for all of their models.
_RESPONSES_HOSTS: Final = frozenset({"api.openai.com"})
# {dialect: how many attempts a provider gets at once where the config does not say}. None: any number.
_CONCURRENCY: Final = {"openai": 12, "anthropic": 10, "gemini": 12, "local": None}


class Catalog:
    """What there is to choose from, for a config without problems. Prices are those of the day it is made."""

    def __init__(self, config: Config, book: PriceBook, *, now_ms: int) -> None:
        self._config = config
        self._book = book
        self._date = datetime.datetime.fromtimestamp(now_ms / 1000, datetime.UTC).date().isoformat()
        self._models = {model.id: model for model in config.models}
        self._providers = {section.name: _provider(section) for section in config.providers}
        self._direct: dict[str, Route] = {}
        self.providers = tuple(self._providers.values())
        self.routes = tuple(
            Route(
                name=route.name,
                targets=tuple(map(self._deployment, route.targets)),
                cache=route.cache,
                hedge=_hedge_rule(config.router, route),
                strategy=route.strategy,
                weights=route.weights,
            )
            for route in config.routes
        )
        self._routes = {route.name: route for route in self.routes}
        self.models = tuple(map(self._deployment, self._models))
        self.ceilings = tuple(
            Ceiling(
                scope=section.scope,
                window=section.window,
                unit=section.unit,
                limit=limit_of(section),
                when_tight=section.when_tight,
                downgrade_at=section.downgrade_at,
                warn_at=section.warn_at,
            )
            for section in config.ceilings
        )

    def resolve(self, model: str | None) -> Route:
        """The route of this name, or one of a single `provider:model`; None: `default`, else the first route.

        Raises UnknownModel.
        """
        if model is None:
            route = self._routes.get(DEFAULT_ROUTE) or next(iter(self.routes), None)
        else:
            route = self._routes.get(model) or self._direct.get(model) or self._direct_route(self._unaliased(model))
        if route is None:
            raise UnknownModel(model or "", tuple(self._routes))
        return route

    def breaker_rule(self, deployment_id: str) -> BreakerRule:
        """When the breaker of `provider:model` opens, and for how long."""
        router, model = self._config.router, self._models.get(deployment_id) or ModelSection(id=deployment_id)
        return BreakerRule(
            threshold=model.breaker_threshold or router.breaker_threshold,
            cooldown_s=model.breaker_cooldown_s or router.breaker_cooldown_s,
        )

    def price_of(self, deployment_id: str) -> Price | None:
        """What `provider:model` charges. None: the provider is not configured, or nobody knows its price."""
        name, _, model = deployment_id.partition(":")
        if name not in self._providers or not is_model_name(model):
            return None
        price = self._deployment(deployment_id).price
        return None if price == UNPRICED_FREE else price

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to say at start: targets whose calls are refused, or taken to be free, for want of a price."""
        prices = {target.id: target.price for route in self.routes for target in route.targets}
        follows = {None: "are refused", UNPRICED_FREE: "count as free"}
        return tuple(
            f"{name} has no price, so calls to it {follows[price]}; give it one in [[models]]"
            for name, price in prices.items()
            if price is None or price == UNPRICED_FREE
        )

    def _unaliased(self, model: str) -> str:
        """A `provider:model` by the provider's name in the config; an alias is one only where no provider has it."""
        name, colon, rest = model.partition(":")
        return model if name in self._providers else f"{ALIASES.get(name, name)}{colon}{rest}"

    def _direct_route(self, model: str) -> Route | None:
        provider, _, name = model.partition(":")
        if provider not in self._providers or not is_model_name(name):
            return None
        route = Route(name=model, targets=(self._deployment(model),))
        # Callers choose these names; they must not fill the memory with them.
        if len(self._direct) < MAX_DIRECT_ROUTES:
            self._direct[model] = route
        return route

    def _deployment(self, deployment_id: str) -> Deployment:
        """The deployment `provider:model`, of a provider that is configured."""
        name, _, model = deployment_id.partition(":")
        provider = self._providers[name]
        section = self._models.get(deployment_id) or ModelSection(id=deployment_id)
        vendor = _VENDORS[provider.dialect]
        known_window = self._book.context_window(base_url=provider.base_url, vendor=vendor, model=model)
        facts = facts_of(model)
        return Deployment(
            provider=provider,
            model=model,
            price=_own_price(section) or self._price(provider, model),
            encoding=section.encoding or encoding_for(model),
            context_window=section.context_window or known_window or facts.context_window,
            max_output_tokens=section.max_output_tokens or facts.max_output_tokens,
            supports=_supports(provider, facts) if section.supports is None else frozenset(section.supports),
            adaptation=facts.adaptation,
            latency_threshold_s=None if section.latency_threshold_ms is None else section.latency_threshold_ms / 1000,
        )

    def _price(self, provider: Provider, model: str) -> Price | None:
        if provider.dialect == "local":
            return FREE
        base_url, vendor = provider.base_url, _VENDORS[provider.dialect]
        found = self._book.find(base_url=base_url, vendor=vendor, model=model, date=self._date)
        if found is not None:
            return found
        is_own_server = self._config.is_from_environment and not self._book.knows_address(base_url)
        return UNPRICED_FREE if is_own_server or self._config.router.unpriced == "free" else None


class CurrentCatalog:
    """The catalog in force. Whoever holds this sees the next one from one moment to the next."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def replace(self, catalog: Catalog) -> None:
        """Put another one in its place. Calls that were planned with the old one go on with it."""
        self._catalog = catalog

    def resolve(self, model: str | None) -> Route:
        """See Catalog.resolve."""
        return self._catalog.resolve(model)

    def breaker_rule(self, deployment_id: str) -> BreakerRule:
        """See Catalog.breaker_rule."""
        return self._catalog.breaker_rule(deployment_id)

    @property
    def routes(self) -> tuple[Route, ...]:
        """All configured routes, in order."""
        return self._catalog.routes

    @property
    def models(self) -> tuple[Deployment, ...]:
        """All deployments of [[models]], in order."""
        return self._catalog.models


def _supports(provider: Provider, facts: ModelFacts) -> frozenset[str] | None:
    """What is known of it, where the config does not say it. Beside a local model's file there is none for images."""
    if provider.dialect != "local":
        return facts.supports
    return (CAPABILITIES if facts.supports is None else facts.supports) - {VISION}


def _provider(section: ProviderSection) -> Provider:
    base_url = (section.base_url or "").rstrip("/")
    usual = usual_of(section.dialect, base_url)
    return Provider(
        name=section.name,
        dialect=section.dialect,
        base_url=base_url,
        api_key=section.api_key or None,
        timeout_s=section.timeout_s,
        answer_timeout_s=section.answer_timeout_s,
        connect_timeout_s=section.connect_timeout_s,
        max_concurrency=section.max_concurrency or _CONCURRENCY[section.dialect],
        on_abort=section.on_abort or usual.on_abort,
        model_path=section.model_path,
        has_responses=_has_responses(section),
        counts_tokens=usual.counts_tokens if section.count_tokens is None else section.count_tokens == "provider",
        auth_header=(section.auth_header or usual.auth_header).lower(),
        headers={name.lower(): value for name, value in section.headers.items()},
        query=section.query,
        proxy=section.proxy or None,
    )


def _has_responses(section: ProviderSection) -> bool:
    if section.responses is not None or section.dialect != "openai":
        return bool(section.responses)
    return urlsplit(section.base_url or "").hostname in _RESPONSES_HOSTS


def _hedge_rule(router: RouterSection, route: RouteSection) -> HedgeRule | None:
    """A route that says when to hedge is to be hedged, unless it says that it is not."""
    is_hedged = route.hedge if route.hedge is not None else router.hedge or route.hedge_after_ms is not None
    if not is_hedged:
        return None
    after = router.hedge_after_ms if route.hedge_after_ms is None else route.hedge_after_ms
    return HedgeRule(
        after_s="p95" if after == "p95" else after / 1000,
        stagger_s=router.hedge_stagger_ms / 1000,
        max_ratio=router.hedge_max_ratio,
    )


def _own_price(section: ModelSection) -> Price | None:
    """The price in a [[models]] section. Its version says it whole, for whoever reads a posting later."""
    amounts = {
        name.removesuffix(_RATE): getattr(section, name)
        for name in section.__struct_fields__
        if name.endswith(_RATE) and getattr(section, name) is not None
    }
    if not {"input", "output"} <= amounts.keys():
        return None
    said = ", ".join(f"{name.replace('_', ' ')} {amount}" for name, amount in amounts.items())
    return Price(version=f"config: {said}", base=Tier(**{name: parse_usd(amount) for name, amount in amounts.items()}))
