"""What each wire format has words for: known while planning, so that hold and caller are told the truth. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from router.call import EventFormat
from router.deployments import Deployment, Dialect
from router.embeddings import ENDPOINT as EMBEDDINGS
from router.providers import openai_embeddings, openai_responses
from router.providers.anthropic import request as anthropic
from router.providers.anthropic.in_chat import in_chat as from_anthropic
from router.providers.gemini import embeddings as gemini_embeddings
from router.providers.gemini import request as gemini
from router.responses import THOUGHT_FIELDS
from router.responses import in_chat as from_responses
from router.vendors import takes_own_fields_alone

# The body as this format can say it, still in the shape of a chat completion, and the names of what it leaves unsaid.
Fit = Callable[[dict[str, Any], Deployment], tuple[dict[str, Any], tuple[str, ...]]]


def fitted(body: dict[str, Any], deployment: Deployment, endpoint: str = "") -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body as the deployment's dialect can say it at this endpoint, and the names of what it has no words for.

    What the format must have and the caller left open (how long the answer may be) is filled in here, so that the hold
    bounds what is sent. Raises Inexpressible for messages that cannot be said there: those are never changed.
    """
    return _ENDPOINT_FITS.get(endpoint, _FITS[deployment.provider.dialect])(body, deployment)


def spoken(body: dict[str, Any], deployment: Deployment, endpoint: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A caller's body in words that the deployment shares at this endpoint, and the names of what was lost on the way.

    Only what came in another format than is spoken there changes. Raises Inexpressible as `fitted` does.
    """
    dialect = deployment.provider.dialect
    lost: tuple[str, ...] = ()
    # A body came in one format, so that at most one of the two changes it.
    if endpoint != openai_responses.ENDPOINT:
        body, lost = from_responses(body, dialect)
    return (body, lost) if lost or dialect == "anthropic" else from_anthropic(body, dialect)


def event_format(deployment: Deployment, endpoint: str) -> EventFormat:
    """How the deployment writes a stream at this endpoint, where callers may speak the same format."""
    match deployment.provider.dialect:
        case "openai" | "local":
            return _ENDPOINT_FORMATS.get(endpoint, "")
        case "anthropic":
            return "messages"
        case _:
            return ""


def _as_it_is(body: dict[str, Any], _deployment: Deployment) -> tuple[dict[str, Any], tuple[str, ...]]:
    return body, ()


def _in_openais_words(body: dict[str, Any], deployment: Deployment) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What answers of Claude's and Gemini's say of their thoughts goes back to them alone."""
    given = body.get("messages")
    if not takes_own_fields_alone(deployment.provider.base_url) or not isinstance(given, list):
        return body, ()
    said = [name for name in THOUGHT_FIELDS if any(isinstance(message, dict) and name in message for message in given)]
    if not said:
        return body, ()
    left = [_without(message, said) if isinstance(message, dict) else message for message in given]
    return {**body, "messages": left}, tuple(f"messages.{name}" for name in said)


def _without(message: dict[str, Any], names: list[str]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name not in names}


def _embeddings(body: dict[str, Any], deployment: Deployment) -> tuple[dict[str, Any], tuple[str, ...]]:
    fit = gemini_embeddings.fitted if deployment.provider.dialect == "gemini" else openai_embeddings.fit
    return fit(body, deployment)


_FITS: Final[Mapping[Dialect, Fit]] = {
    "openai": _in_openais_words,
    "anthropic": anthropic.fitted,
    "gemini": gemini.fitted,
    "local": _as_it_is,
}
# Endpoints other than the dialect's own. Of these the other dialects know embeddings at most.
_ENDPOINT_FITS: Final[Mapping[str, Fit]] = {
    openai_responses.ENDPOINT: openai_responses.fit,
    EMBEDDINGS: _embeddings,
}
_ENDPOINT_FORMATS: Final[Mapping[str, EventFormat]] = {
    "": "chat.completions",
    openai_responses.ENDPOINT: "responses",
}
