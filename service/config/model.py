"""The sections of the config, with their defaults. Source: CONTRACT §2 and §7."""

from typing import Annotated, Final, Literal

import msgspec

from router.strategy import Strategy

# Upper bounds keep sums within the tables' and the clock's integers; nobody needs as much.
Seconds = Annotated[float, msgspec.Meta(gt=0, le=10_000_000)]
Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=10_000_000_000)]
Tokens = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
Bytes = Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Number = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]

# In whose place `telemetry.trace_url` has a trace's id.
TRACE_ID: Final = "{trace_id}"


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file. Keys it does not know are an error."""


class ServerSection(Section, frozen=True):
    """Where and how the service listens. port 0 is any free one. max_in_flight, max_connections: of one process.

    auth: whether nobody is answered without a key; `auto`: only if others than this machine can connect to the host.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 4000
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    auth: Literal["auto", "required", "off"] = "auto"
    max_body_bytes: Bytes = 33_554_432
    max_in_flight: Number = 2000
    max_connections: Number = 10_000
    drain_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 30.0


class LedgerSection(Section, frozen=True):
    """Where money is kept: `sqlite:PATH`, or `postgresql://…`, which several machines may share.

    synchronous `full`: an acknowledged hold survives a power cut, as on PostgreSQL it always does.
    verify_every_s: how often the service looks whether the newest lines add up. disk_low_mb: with less than this free
    beside it (a MB is 2^20 bytes), `disk.low` goes out; 0: never. keep_events_days: how long alerts are remembered that
    are over. slice_above_per_s: on a server, with more calls a second of one process under a ceiling, it keeps a slice
    of that and admits without waiting for its turn; 0: never. On a file it changes nothing: there is no other replica.
    """

    url: str = "sqlite:farthing.db"
    synchronous: Literal["full", "normal"] = "full"
    verify_every_s: Seconds = 60.0
    disk_low_mb: Annotated[int, msgspec.Meta(ge=0, le=1 << 30)] = 512
    keep_events_days: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 90
    slice_above_per_s: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0


class CacheSection(Section, frozen=True):
    """What equal calls share. scope: with whom; without keys all callers are one key and one team.

    url: where stored answers are kept, `valkey://…` or `redis://…`; empty: in the ledger. timeout_ms: after so long
    that server is done without.
    """

    enabled: bool = True
    coalesce: bool = True
    ttl_s: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)] = 300
    max_entries: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)] = 100_000
    max_bytes: Annotated[int, msgspec.Meta(ge=0, le=1 << 50)] = 1 << 30
    scope: Literal["key", "team", "global"] = "key"
    url: str = ""
    timeout_ms: Annotated[int, msgspec.Meta(ge=1, le=60_000)] = 250


class RouterSection(Section, frozen=True):
    """How long calls may take, when a deployment is no longer asked, and whether one without a price may be.

    breaker_alert_s: how long a breaker may be open before `breaker.open_long` goes out.

    hedge*: whether and when a slow attempt gets another one beside it; see `router.deployments.HedgeRule`.
    """

    deadline_ms: Milliseconds = 600_000
    stream_gap_s: Seconds = 120.0
    stream_max_s: Seconds = 3600.0
    hedge: bool = False
    hedge_after_ms: Milliseconds | Literal["p95"] = 1200
    hedge_stagger_ms: Milliseconds = 400
    hedge_max_ratio: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.05
    breaker_threshold: Number = 3
    breaker_cooldown_s: Seconds = 60.0
    breaker_alert_s: Seconds = 300.0
    unpriced: Literal["refuse", "free"] = "refuse"


class ProviderSection(Section, frozen=True):
    """Who hosts and bills. max_concurrency None: what is usual for the dialect.

    responses: whether it answers `/v1/responses`, too; None: OpenAI's own does, others do not.
    on_abort, auth_header and count_tokens None: what is known of the address (`router.vendors`), else `estimate`, what
    the dialect's own vendor has, and `here`. headers and query go with every request. proxy: the http:// address
    through which it is reached; None: directly. model_path is for `local` only: None is the embedded model.
    """

    name: str
    dialect: Literal["openai", "anthropic", "gemini", "local"]
    base_url: str | None = None
    api_key: str | None = None
    timeout_s: Seconds = 60.0
    answer_timeout_s: Seconds = 600.0
    connect_timeout_s: Seconds = 5.0
    max_concurrency: Number | None = None
    on_abort: Literal["estimate", "hold", "drain", "free"] | None = None
    auth_header: str | None = None
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    responses: bool | None = None
    count_tokens: Literal["provider", "here"] | None = None
    proxy: str | None = None
    model_path: str | None = None


class ModelSection(Section, frozen=True):
    """What is special about one deployment. Prices are decimal strings of dollars. breaker_* None: as in [router].

    *_usd_per_mtok: the prices of `ledger.prices.Tier`; one that is left out costs what its wider class costs.

    latency_threshold_ms: where 95 % of its first outputs take longer than this, it is tried last.
    """

    id: str
    input_usd_per_mtok: str | None = None
    output_usd_per_mtok: str | None = None
    cached_input_usd_per_mtok: str | None = None
    reasoning_usd_per_mtok: str | None = None
    cache_write_usd_per_mtok: str | None = None
    cache_write_1h_usd_per_mtok: str | None = None
    input_audio_usd_per_mtok: str | None = None
    cached_audio_usd_per_mtok: str | None = None
    input_image_usd_per_mtok: str | None = None
    output_audio_usd_per_mtok: str | None = None
    output_image_usd_per_mtok: str | None = None
    max_output_tokens: Tokens | None = None
    context_window: Tokens | None = None
    encoding: Literal["o200k_base", "cl100k_base"] | None = None
    supports: tuple[str, ...] | None = None
    breaker_threshold: Number | None = None
    breaker_cooldown_s: Seconds | None = None
    latency_threshold_ms: Milliseconds | None = None


class RouteSection(Section, frozen=True):
    """A public model name, and who answers for it, in order. None follows [cache] and [router].

    weights: one for each target, for the strategy `weighted`; left out, they are the same.
    """

    name: str
    targets: tuple[str, ...]
    strategy: Strategy = "ordered"
    weights: tuple[Number, ...] = ()
    cache: bool | None = None
    hedge: bool | None = None
    hedge_after_ms: Milliseconds | Literal["p95"] | None = None


class CeilingSection(Section, frozen=True):
    """The most that may be spent or used in one scope and window. limit_usd is short for a limit of the unit `usd`.

    limit: dollars are exact, so they are text or whole; `service.config.limits` reads it.
    downgrade_at: the share of it, held and spent, from which on routes move to their cheaper targets. None: never.
    warn_at: the shares of it, spent, at which alerts go out. None: 0.8 and 1.0, but for windows of a minute.
    """

    scope: str
    window: Literal["minute", "hour", "day", "month", "total"]
    limit_usd: str | None = None
    unit: Literal["usd", "tokens", "calls"] = "usd"
    limit: str | int | float | None = None
    when_tight: Literal["refuse", "wait", "clamp"] = "refuse"
    downgrade_at: Share | None = None
    warn_at: tuple[Share, ...] | None = None


class ReconcileSection(Section, frozen=True):
    """Where to find what in a provider's export: `service.exports.Mapped`."""

    provider: str
    columns: dict[str, str]
    rows: str = ""
    models: dict[str, str] = {}


class AlertSection(Section, frozen=True):
    """Who is told of events: a signed webhook (http, https), or any address that Apprise knows.

    name: None is what the address tells without a secret, see `service.config.alerts.target_name`. events: patterns of
    types, like `ceiling.*`. More than `burst` of them within digest_s become one message. plain_http: http:// will do,
    also beyond this machine.
    """

    url: str
    secret: str | None = None
    name: str | None = None
    events: tuple[str, ...] = ("*",)
    digest_s: Seconds = 60.0
    burst: Number = 20
    plain_http: bool = False


class TelemetrySection(Section, frozen=True):
    """Where traces go. An empty endpoint leaves it to the standard OTEL_* variables.

    public_url: where people find this service, for links to it; empty: at its own host and port.
    trace_url: where a trace can be looked at, `{trace_id}` in the place of its id; empty: nowhere.
    """

    otlp_endpoint: str = ""
    capture_content: bool = False
    public_url: str = ""
    trace_url: str = ""


class Config(Section, frozen=True):
    """The whole config. is_from_environment is no key: it says that no file was read."""

    server: ServerSection = ServerSection()
    ledger: LedgerSection = LedgerSection()
    cache: CacheSection = CacheSection()
    router: RouterSection = RouterSection()
    providers: tuple[ProviderSection, ...] = ()
    models: tuple[ModelSection, ...] = ()
    routes: tuple[RouteSection, ...] = ()
    ceilings: tuple[CeilingSection, ...] = ()
    reconcile: tuple[ReconcileSection, ...] = ()
    alerts: tuple[AlertSection, ...] = ()
    telemetry: TelemetrySection = TelemetrySection()
    is_from_environment: bool = False


# Keys of the file: [table] and [[list of tables]].
TABLES: Final[dict[str, type[Section]]] = {
    "server": ServerSection,
    "ledger": LedgerSection,
    "cache": CacheSection,
    "router": RouterSection,
    "telemetry": TelemetrySection,
}
LISTS: Final[dict[str, type[Section]]] = {
    "providers": ProviderSection,
    "models": ModelSection,
    "routes": RouteSection,
    "ceilings": CeilingSection,
    "reconcile": ReconcileSection,
    "alerts": AlertSection,
}
