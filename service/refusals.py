"""What the edge itself turns away, before the router hears of it. Statuses and words: service/errors.py."""

from enum import Enum, auto


class Refusal(Exception):
    """A request that is answered without a call."""


class InvalidRequest(Refusal):
    """Something in the request is wrong. where: the field (`messages[0].role`) or header; empty: the body as such."""

    def __init__(self, detail: str, *, where: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.where = where


class WhyNot(Enum):
    """Why a caller is not known. Only whoever shows the right secret is told that it was revoked or has expired."""

    MISSING = auto()
    UNKNOWN = auto()
    TWO = auto()
    REVOKED = auto()
    EXPIRED = auto()


class Unauthenticated(Refusal):
    """Nobody knows who asks."""

    def __init__(self, why: WhyNot) -> None:
        super().__init__(why)
        self.why = why


class Forbidden(Refusal):
    """The Host or the Origin is not ours, or the caller's key may not do this. detail says which."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NotFound(Refusal):
    """There is no such path, generation or key. what: its kind and name. listed_at: where those are that there are."""

    def __init__(self, what: str, *, listed_at: str = "/schema") -> None:
        super().__init__(what)
        self.what = what
        self.listed_at = listed_at


class MethodNotAllowed(Refusal):
    """The path exists, but not for this method. allowed: the methods that it takes."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(allowed)
        self.allowed = allowed


class BodyTimeout(Refusal):
    """The body did not arrive whole in time."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(timeout_s)
        self.timeout_s = timeout_s


class BodyTooLarge(Refusal):
    """The body is longer than we read."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self.limit_bytes = limit_bytes


class UnsupportedMediaType(Refusal):
    """The body says that it is something else than UTF-8 JSON. is_encoded: that it is compressed."""

    def __init__(self, *, is_encoded: bool = False) -> None:
        super().__init__(is_encoded)
        self.is_encoded = is_encoded
