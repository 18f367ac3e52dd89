"""The sections of the config, with their defaults. What CONTRACT §2 has beside these is not in this version."""

from typing import Annotated, Literal

import msgspec

Positive = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[int, msgspec.Meta(ge=1)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file. Keys it does not know are an error."""


class Server(Section):
    """Where and how the service listens."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 4000
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    auth: Literal["auto", "off"] = "auto"
    max_body_bytes: Share = 33_554_432
    max_in_flight: Share = 2000
    drain_s: Annotated[float, msgspec.Meta(ge=0)] = 30.0


class LedgerSection(Section):
    """Where money is kept. synchronous `full`: an acknowledged hold survives a power cut."""

    url: str = "sqlite:farthing.db"
    synchronous: Literal["full", "normal"] = "full"


class Cache(Section):
    """What equal calls share. scope: without keys all callers are one key and one team, so the three are the same."""

    enabled: bool = True
    coalesce: bool = True
    ttl_s: Annotated[int, msgspec.Meta(ge=0)] = 300
    max_entries: Annotated[int, msgspec.Meta(ge=0)] = 100_000
    max_bytes: Annotated[int, msgspec.Meta(ge=0)] = 1 << 30
    scope: Literal["key", "team", "global"] = "key"


class Router(Section):
    """How long calls may take, and when a deployment is no longer asked."""

    deadline_ms: Share = 600_000
    stream_gap_s: Positive = 120.0
    stream_max_s: Positive = 3600.0
    breaker_threshold: Share = 3
    breaker_cooldown_s: Positive = 60.0
    unpriced: Literal["refuse", "free"] = "refuse"


class ProviderSection(Section):
    """Who hosts and bills."""

    name: Annotated[str, msgspec.Meta(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    dialect: Literal["openai", "local"]
    base_url: str | None = None
    api_key: str | None = None
    timeout_s: Positive = 60.0
    answer_timeout_s: Positive = 600.0
    connect_timeout_s: Positive = 5.0
    max_concurrency: Share | None = None
    on_abort: Literal["estimate"] = "estimate"
    model_path: str | None = None


class ModelSection(Section):
    """What is special about one deployment. Prices are decimal strings of dollars."""

    id: str
    input_usd_per_mtok: str | None = None
    output_usd_per_mtok: str | None = None
    cached_input_usd_per_mtok: str | None = None
    reasoning_usd_per_mtok: str | None = None
    max_output_tokens: Share | None = None
    context_window: Share | None = None
    encoding: Literal["o200k_base", "cl100k_base"] | None = None
    supports: tuple[str, ...] | None = None


class RouteSection(Section):
    """A public model name."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    targets: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    strategy: Literal["ordered"] = "ordered"
    cache: bool | None = None


class CeilingSection(Section):
    """The most that may be spent in one scope and window."""

    scope: str
    window: Literal["minute", "hour", "day", "month", "total"]
    limit_usd: str
    when_tight: Literal["refuse"] = "refuse"


class TelemetrySection(Section):
    """Where traces go. An empty endpoint leaves it to the standard OTEL_* variables."""

    otlp_endpoint: str = ""
    capture_content: bool = False


class Config(Section):
    """The whole config. warnings: what to say at start; not a key of the file."""

    server: Server = Server()
    ledger: LedgerSection = LedgerSection()
    cache: Cache = Cache()
    router: Router = Router()
    providers: tuple[ProviderSection, ...] = ()
    models: tuple[ModelSection, ...] = ()
    routes: tuple[RouteSection, ...] = ()
    ceilings: tuple[CeilingSection, ...] = ()
    telemetry: TelemetrySection = TelemetrySection()
    is_from_environment: bool = False
    warnings: tuple[str, ...] = ()


# Keys of the file: the fields that are its tables.
TABLES = {
    "server": Server,
    "ledger": LedgerSection,
    "cache": Cache,
    "router": Router,
    "telemetry": TelemetrySection,
}
LISTS = {
    "providers": ProviderSection,
    "models": ModelSection,
    "routes": RouteSection,
    "ceilings": CeilingSection,
}
# In CONTRACT §2, but not built yet: said so, rather than taken without effect.
NOT_YET = {
    "": {"alerts"},
    "router": {"hedge", "hedge_after_ms", "hedge_stagger_ms", "hedge_max_ratio"},
    "models": {"breaker_threshold", "breaker_cooldown_s", "latency_threshold_ms"},
    "routes": {"weights", "hedge", "hedge_after_ms"},
    "ceilings": {"warn_at", "limit", "unit", "downgrade_at"},
    "cache": {"url"},
}
NOT_YET_VALUES = {
    ("server", "auth"): {"required"},
    ("providers", "dialect"): {"anthropic", "gemini"},
    ("providers", "on_abort"): {"hold", "drain", "free"},
    ("routes", "strategy"): {"weighted", "fastest", "cheapest"},
    ("ceilings", "when_tight"): {"wait", "clamp"},
}
