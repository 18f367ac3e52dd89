"""What of the ledger's entries is counted as metrics, the moment that the ledger has taken them."""

from typing import Final

from ledger.usage import Usage
from ledger.values import Ending, Hit, Replay, StoredResponse
from router.asked import Asked
from router.faults import Outcome
from router.journey import Attempt, Journey
from telemetry.metrics import AttemptAccount, CallAccount, OperationAccount, Recorder

_CLASSES: Final = tuple(name.removesuffix("_tokens") for name in Usage.__struct_fields__)


class Books:
    """Counts entries that the ledger took, each once: one that it did not take is counted nowhere.

    What it enters by itself is not heard of here: holds of the dead that lapse, corrections, and hits that nobody
    waited for any more.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def count_attempt(self, journey: Journey, attempt: Attempt) -> int:
        """Count its end. Returns by how many nano-dollars it cost more than it held; 0 or less: it did not."""
        result = attempt.result
        assert result is not None
        cost_nanousd = result.cost_nanousd or 0
        overrun_nanousd = cost_nanousd - attempt.candidate.held_nanousd
        account = AttemptAccount(
            operation=journey.call.kind,
            provider=attempt.deployment.provider.name,
            model=attempt.deployment.model,
            key=journey.call.attribution.key_id,
            outcome=result.outcome,
            is_hedge=bool(attempt.hedges),
            cost_nanousd=cost_nanousd,
            basis=result.cost_basis,
            overran=overrun_nanousd > 0,
            latency_s=result.latency_us / 1e6,
            ttft_s=None if result.ttft_us is None else result.ttft_us / 1e6,
            gaps=attempt.gaps,
            tokens={} if result.usage is None else _used(result.usage),
        )
        self._recorder.attempt(account)
        return overrun_nanousd

    def count_lead(self, journey: Journey, last: Attempt, ending: Ending) -> None:
        """Count the end of a call that asked providers."""
        assert last.result is not None
        usage = last.result.usage
        self._recorder.call(
            CallAccount(
                route=journey.route, cache="bypass" if journey.lookup is None else "miss", outcome=ending.outcome
            )
        )
        self._recorder.operation(
            OperationAccount(
                operation=journey.call.kind,
                provider=last.deployment.provider.name,
                model=last.deployment.model,
                error="" if ending.outcome == Outcome.OK else ending.outcome,
                latency_s=ending.latency_us / 1e6,
                input_tokens=None if usage is None else usage.prompt_tokens,
                output_tokens=None if usage is None else usage.completion_tokens,
            )
        )

    def count_follower(self, asked: Asked, ending: Ending) -> None:
        """Count a call that another one's flight answered."""
        self._recorder.call(
            CallAccount(
                route=asked.route.name,
                cache="coalesced",
                outcome=ending.outcome,
                deployment=ending.deployment,
                saved_nanousd=ending.saved_nanousd,
            )
        )

    def count_found(self, asked: Asked, found: Hit | Replay) -> None:
        """Count a call that a stored answer met. The answer of an earlier one, told again, is no call of its own."""
        if isinstance(found, Hit):
            response: StoredResponse | None = found.response
        else:
            # Its own, where an earlier try of its admission had gone unheard.
            response = found.hit if found.generation_id == asked.call.generation_id else None
        if response is not None:
            self.count_hit(asked.route.name, response.deployment, response.cost_nanousd)

    def count_hit(self, route: str, deployment: str, saved_nanousd: int) -> None:
        """Count a call that a stored answer of this deployment met."""
        self._recorder.call(
            CallAccount(
                route=route, cache="hit", outcome=Outcome.OK, deployment=deployment, saved_nanousd=saved_nanousd
            )
        )


def _used(usage: Usage) -> dict[str, int]:
    return {name: count for name, count in zip(_CLASSES, usage.counts, strict=True) if count}
