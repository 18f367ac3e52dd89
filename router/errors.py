"""Why a call could not be answered. Facts only; statuses and words belong to service/errors.py."""

from router.receipt import AttemptReport


class RouterError(Exception):
    """A call that ends without an answer. `code` is stable; `attempts` is what was tried before."""

    code = "router_error"
    attempts: tuple[AttemptReport, ...] = ()


class UnknownModel(RouterError):
    """No route and no configured provider has this name."""

    code = "unknown_model"

    def __init__(self, model: str, routes: tuple[str, ...]) -> None:
        super().__init__(model)
        self.model = model
        self.routes = routes


class RouteForbidden(RouterError):
    """The caller's key is not for this model. allowed: the names that it is for."""

    code = "forbidden"

    def __init__(self, route: str, allowed: tuple[str, ...]) -> None:
        super().__init__(route)
        self.route = route
        self.allowed = allowed


class UnpricedModel(RouterError):
    """None of the deployments left has a price."""

    code = "unpriced_model"

    def __init__(self, deployments: tuple[str, ...]) -> None:
        super().__init__(deployments)
        self.deployments = deployments


class MaxCostExceeded(RouterError):
    """Every deployment could cost more than the caller's own max_cost_usd."""

    code = "max_cost_exceeded"

    def __init__(self, *, limit_nanousd: int, asked_nanousd: int) -> None:
        super().__init__(limit_nanousd, asked_nanousd)
        self.limit_nanousd = limit_nanousd
        self.asked_nanousd = asked_nanousd


class UnboundedCost(RouterError):
    """A limit applies, and this field of the call makes its cost impossible to bound."""

    code = "unbounded_cost"

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


class Inexpressible(RouterError):
    """No deployment's wire format has words for a part of the messages. where: the part; what: its kind."""

    code = "invalid_request"

    def __init__(self, *, where: str, what: str, dialect: str) -> None:
        super().__init__(where, what, dialect)
        self.where = where
        self.what = what
        self.dialect = dialect


class ContextTooLong(RouterError):
    """The call is longer than the context window of every deployment. windows: {deployment id: tokens}."""

    code = "invalid_request"

    def __init__(self, *, prompt_tokens: int, windows: dict[str, int]) -> None:
        super().__init__(prompt_tokens, windows)
        self.prompt_tokens = prompt_tokens
        self.windows = windows


class NotCached(RouterError):
    """The caller asked for a stored answer only, and there is none."""

    code = "not_cached"


class NoDeploymentAvailable(RouterError):
    """All deployments are open, paced or blocked. retry_after_s: the earliest return."""

    code = "no_deployment_available"

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


class UpstreamFailed(RouterError):
    """Every attempt failed."""

    code = "upstream_failed"

    def __init__(self, attempts: tuple[AttemptReport, ...]) -> None:
        super().__init__(attempts)
        self.attempts = attempts


class UpstreamRejected(RouterError):
    """The provider refused the call itself; no other deployment could mend that. Passes through with its status."""

    code = "upstream_rejected"

    def __init__(
        self, status: int, message: str, error_body: dict[str, object] | None, attempts: tuple[AttemptReport, ...]
    ) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.error_body = error_body
        self.attempts = attempts


class DeadlineExceeded(RouterError):
    """The caller's deadline passed. elapsed_s: how long it was waited; waited_for: what for.

    provider: whose turn it was; empty: that of its last attempt, if there was any.
    key: the beginning of the key that equal calls share, by which to find those that waited together; empty: no key.
    """

    code = "deadline_exceeded"

    def __init__(
        self,
        *,
        elapsed_s: float,
        waited_for: str,
        attempts: tuple[AttemptReport, ...] = (),
        key: str = "",
        provider: str = "",
    ) -> None:
        super().__init__(elapsed_s, waited_for)
        self.elapsed_s = elapsed_s
        self.waited_for = waited_for
        self.provider = provider
        self.key = key
        self.attempts = attempts


class ResultNotKept(RouterError):
    """The first call under this key is over, but its result could not be kept. generation_id: of that call."""

    code = "idempotency_result_not_kept"

    def __init__(self, generation_id: str) -> None:
        super().__init__(generation_id)
        self.generation_id = generation_id


class SlowReader(RouterError):
    """The caller did not take a stream as fast as it must, for the sake of those who share it and of our memory.

    behind_bytes: how far it was behind the others. None: it took nothing at all for too long.
    """

    code = "slow_reader"

    def __init__(self, behind_bytes: int | None = None) -> None:
        super().__init__(behind_bytes)
        self.behind_bytes = behind_bytes


class Overloaded(RouterError):
    """Too many calls are in flight, the service is draining, or too many wait for what `waited_for` names."""

    code = "overloaded"

    def __init__(self, retry_after_s: float = 1.0, *, waited_for: str = "") -> None:
        super().__init__(retry_after_s, waited_for)
        self.retry_after_s = retry_after_s
        self.waited_for = waited_for
