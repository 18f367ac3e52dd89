"""What a dialect is to the router: one file that says what to send and how to read the answer.

Whatever goes wrong comes out as a Fault.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Protocol

from router.answer import Closing, Delta, SaysUsage
from router.deployments import Deployment, Provider


class Upstream(Protocol):
    """One dialect, ready to speak to any provider of that dialect."""

    def attempt(
        self,
        deployment: Deployment,
        body: dict[str, Any],
        *,
        stream: bool,
        headers: dict[str, str],
        on_answer: Callable[[Mapping[str, str], SaysUsage], None] | None = None,
        endpoint: str = "",
        keeps_events: bool = False,
        body_bytes: int = 0,
    ) -> AsyncGenerator[Delta | Closing, None]:
        """One request to one deployment. Deltas as they come, then exactly one Closing: the answer is whole.

        Raises Fault, and nothing else of its own. Time is the caller's: cancelling, or `aclose`, closes the connection
        at once. Consume under `aclosing`. on_answer: told the headers of a successful response, and
        what reads its body, which knows more than the deltas say.
        endpoint: as `Candidate.endpoint`; a dialect that has only its own takes no notice of it.
        keeps_events: deltas of a stream carry the events that they came from, as `Delta.raw`, where the dialect can.
        body_bytes: about how long the body is. Not to hold up other calls, a large one is written aside.
        """

    async def list_models(self, provider: Provider) -> list[str]:
        """The names of the models that the provider offers. Raises Fault; time is the caller's."""


class CountsTokens(Protocol):
    """One dialect that has a question for how long a call is, ready to ask any provider that answers it for nothing."""

    async def count_tokens(self, deployment: Deployment, body: dict[str, Any], *, headers: dict[str, str]) -> int:
        """The tokens that the deployment would read of this call. Raises Fault; time is the caller's.

        body: as `router.dialects.fitted` gave it.
        """
