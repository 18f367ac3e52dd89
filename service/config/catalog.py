"""The config as the router knows it: providers, deployments with their prices, routes, ceilings."""

import datetime
from typing import Final

from ledger.ceilings import Ceiling
from ledger.money import parse_usd
from ledger.prices import FREE, Price, PriceBook, Tier
from router.deployments import Deployment, Provider, Route
from router.errors import UnknownModel
from router.tokens import encoding_for
from service.config.model import Config, ModelSection, ProviderSection

DEFAULT_ROUTE: Final = "default"
_VENDORS: Final = {"openai": "openai", "local": ""}
_MOST_DIRECT_ROUTES: Final = 10_000
UNPRICED_FREE: Final = Price(version="unpriced: free", base=Tier())


class Catalog:
    """What there is to choose from. Prices are those of the day it was made."""

    def __init__(self, config: Config, book: PriceBook, *, now_ms: int) -> None:
        self._config = config
        self._book = book
        self._today = datetime.datetime.fromtimestamp(now_ms / 1000, datetime.UTC).date().isoformat()
        self._models = {model.id: model for model in config.models}
        self._providers = {section.name: _provider(section) for section in config.providers}
        self.routes = tuple(
            Route(name=route.name, targets=tuple(map(self.deployment, route.targets)), cache=route.cache)
            for route in config.routes
        )
        self._routes = {route.name: route for route in self.routes}
        self._direct: dict[str, Route] = {}
        self.ceilings = tuple(
            Ceiling(scope=section.scope, window=section.window, limit_nanousd=parse_usd(section.limit_usd))
            for section in config.ceilings
        )

    @property
    def providers(self) -> tuple[Provider, ...]:
        """All configured providers."""
        return tuple(self._providers.values())

    def resolve(self, model: str | None) -> Route:
        """The route of this name, or one of a single `provider:model`; None: `default`, else the first route.

        Raises UnknownModel.
        """
        if model is None:
            route = self._routes.get(DEFAULT_ROUTE) or next(iter(self.routes), None)
        else:
            route = self._routes.get(model) or self._direct.get(model) or self._make_direct(model)
        if route is None:
            raise UnknownModel(model or "", tuple(self._routes))
        return route

    def deployment(self, deployment_id: str) -> Deployment:
        """The deployment `provider:model`, of a provider that is configured."""
        name, _, model = deployment_id.partition(":")
        provider = self._providers[name]
        section = self._models.get(deployment_id) or ModelSection(id=deployment_id)
        book_window = self._book.context_window(
            base_url=provider.base_url, vendor=_VENDORS[provider.dialect], model=model
        )
        return Deployment(
            provider=provider,
            model=model,
            price=self._price(provider, model, section),
            encoding=section.encoding or encoding_for(model),
            context_window=section.context_window or book_window,
            max_output_tokens=section.max_output_tokens,
            supports=None if section.supports is None else frozenset(section.supports),
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to say at start: deployments that will be refused, or are taken to be free, for want of a price."""
        targets = {target.id: target for route in self.routes for target in route.targets}
        found = []
        for target in targets.values():
            if target.price is None:
                found.append(f"{target.id} has no price: calls to it are refused; set one in [[models]]")
            elif target.price.version == UNPRICED_FREE.version:
                found.append(f"{target.id} has no price: its calls count as free; set one in [[models]]")
        return tuple(found)

    def _make_direct(self, model: str) -> Route | None:
        provider, _, name = model.partition(":")
        if provider not in self._providers or not name:
            return None
        route = Route(name=model, targets=(self.deployment(model),))
        if len(self._direct) < _MOST_DIRECT_ROUTES:
            self._direct[model] = route
        return route

    def _price(self, provider: Provider, model: str, section: ModelSection) -> Price | None:
        if section.input_usd_per_mtok is not None and section.output_usd_per_mtok is not None:
            return _own_price(section, section.input_usd_per_mtok, section.output_usd_per_mtok)
        if provider.dialect == "local":
            return FREE
        found = self._book.find(
            base_url=provider.base_url, vendor=_VENDORS[provider.dialect], model=model, date=self._today
        )
        if found is not None:
            return found
        is_known_host = self._book.knows_address(provider.base_url)
        if self._config.router.unpriced == "free" or (self._config.is_from_environment and not is_known_host):
            return UNPRICED_FREE
        return None


def _provider(section: ProviderSection) -> Provider:
    return Provider(
        name=section.name,
        dialect=section.dialect,
        base_url=(section.base_url or "").rstrip("/"),
        api_key=section.api_key or None,
        timeout_s=section.timeout_s,
        answer_timeout_s=section.answer_timeout_s,
        connect_timeout_s=section.connect_timeout_s,
        max_concurrency=section.max_concurrency,
        model_path=section.model_path,
    )


def _own_price(section: ModelSection, input_usd: str, output_usd: str) -> Price:
    cached, reasoning = section.cached_input_usd_per_mtok, section.reasoning_usd_per_mtok
    tier = Tier(
        input=parse_usd(input_usd),
        cached_input=None if cached is None else parse_usd(cached),
        output=parse_usd(output_usd),
        reasoning=None if reasoning is None else parse_usd(reasoning),
    )
    return Price(version=f"config {input_usd}/{cached or input_usd}/{output_usd}", base=tier)
