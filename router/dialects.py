"""What each wire format has words for: known while planning, so that hold and caller are told the truth. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from router.deployments import Deployment, Dialect
from router.embeddings import ENDPOINT as EMBEDDINGS
from router.providers import openai_embeddings, openai_responses
from router.providers.anthropic import request as anthropic
from router.providers.anthropic.in_chat import in_chat
from router.providers.gemini import request as gemini
from router.responses import in_chat

# The body as this format can say it, still in the shape of a chat completion, and the names of what it leaves unsaid.
Fit = Callable[[dict[str, Any], Deployment], tuple[dict[str, Any], tuple[str, ...]]]


def fitted(body: dict[str, Any], deployment: Deployment, endpoint: str = "") -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body as the deployment's dialect can say it at this endpoint, and the names of what it has no words for.

    What the format must have and the caller left open (how long the answer may be) is filled in here, so that the hold
    bounds what is sent. Raises Inexpressible for messages that cannot be said there: those are never changed.
    """
    fit = _ENDPOINT_FITS.get(endpoint)
    lost: tuple[str, ...] = ()
    if fit is None:
        fit = _FITS[deployment.provider.dialect]
        body, lost = in_chat(body, deployment.provider.dialect)
    said, unsaid = fit(body, deployment)
    return said, lost + unsaid


def spoken(body: dict[str, Any], deployment: Deployment) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A caller's body in words that the deployment's dialect shares, and the names of what was lost on the way.

    Only what came in a format that is not the dialect's own changes. Raises Inexpressible as `fitted` does.
    """
    dialect = deployment.provider.dialect
    return (body, ()) if dialect == "anthropic" else in_chat(body, dialect)


def _as_it_is(body: dict[str, Any], _deployment: Deployment) -> tuple[dict[str, Any], tuple[str, ...]]:
    return body, ()


_FITS: Final[Mapping[Dialect, Fit]] = {
    "openai": _as_it_is,
    "anthropic": anthropic.fitted,
    "gemini": gemini.fitted,
    "local": _as_it_is,
}
# Endpoints other than the dialect's own. Only the openai dialect has any.
_ENDPOINT_FITS: Final[Mapping[str, Fit]] = {
    openai_responses.ENDPOINT: openai_responses.fit,
    EMBEDDINGS: openai_embeddings.fit,
}
