"""Providers, deployments and routes: what there is to choose from, as plain values made from the config."""

from functools import cached_property
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from ledger.prices import Price
from router.lessons import AS_IT_IS, Adaptation
from router.strategy import Strategy

Dialect = Literal["openai", "anthropic", "gemini", "local"]
# What a request is charged that was sent and then abandoned: an estimate, its whole hold, what the provider says if its
# answer is read on for a while, or nothing.
OnAbort = Literal["estimate", "hold", "drain", "free"]


class Provider(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Who hosts and bills. Spans in seconds; max_concurrency None means unbounded.

    has_responses: it is known to answer `/v1/responses`, too; only where the dialect is openai.
    counts_tokens: it says how long a call is, for nothing; only where the dialect has a way to ask.
    auth_header: what the key is sent in, in lower case; empty: what the dialect's own vendor has. headers and query:
    what goes with every request beside it.
    proxy: the http:// address through which it is reached; None: directly, whatever the environment says.
    """

    name: str
    dialect: Dialect
    base_url: str
    api_key: str | None = None
    timeout_s: float = 60.0
    answer_timeout_s: float = 600.0
    connect_timeout_s: float = 5.0
    max_concurrency: int | None = None
    on_abort: OnAbort = "estimate"
    model_path: str | None = None
    has_responses: bool = False
    counts_tokens: bool = False
    auth_header: str = ""
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    proxy: str | None = None

    @cached_property
    def address(self) -> tuple[str, int]:
        """Host and port; an empty host where its base URL has none."""
        parts = urlsplit(self.base_url)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


class Deployment(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One model at one provider. price None: unpriced. context_window and max_output_tokens None: not known.

    supports: capabilities (`router.capabilities`); None: all. adaptation: how it is known to want to be asked.
    latency_threshold_s: tried last where 95 % of its first outputs take longer.
    """

    provider: Provider
    model: str
    price: Price | None
    encoding: str
    context_window: int | None = None
    max_output_tokens: int | None = None
    supports: frozenset[str] | None = None
    adaptation: Adaptation = AS_IT_IS
    latency_threshold_s: float | None = None

    @property
    def has_endpoints(self) -> bool:
        """Whether its dialect can be asked at more than one."""
        return self.provider.dialect == "openai"

    @property
    def has_responses(self) -> bool:
        """Whether it is known to answer `/v1/responses`."""
        return self.provider.has_responses

    @cached_property
    def id(self) -> str:
        """`provider:model`, the name under which money, latency and health are kept."""
        return f"{self.provider.name}:{self.model}"


class HedgeRule(msgspec.Struct, frozen=True, kw_only=True):
    """When to start a further attempt beside a slow one.

    after_s: without a first output for so long; "p95": as long as 95 % of the deployment's own took. stagger_s: from
    one hedge to the next. max_ratio: hedges to calls, over ten seconds.
    """

    after_s: float | Literal["p95"] = 1.2
    stagger_s: float = 0.4
    max_ratio: float = 0.05


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A public model name and its deployments, in order. cache None follows the global setting; hedge None: never.

    weights: one for each target, for the strategy `weighted`; empty: they are the same.
    """

    name: str
    targets: tuple[Deployment, ...]
    cache: bool | None = None
    hedge: HedgeRule | None = None
    strategy: Strategy = "ordered"
    weights: tuple[int, ...] = ()
