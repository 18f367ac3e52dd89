"""What a call to healthy deployments pays for being planned and let through: `python -m benchmarks.planning`.

Plan, breaker, pacing, gate and hints together, in CPU time a call; the median of several rounds.
"""

import asyncio
import statistics
import time
from typing import Final

from ledger.prices import Price
from ledger.prices.price import Tier
from router.breaker import BreakerEvent, BreakerRule
from router.call import Attribution, CacheWish, Call, Trace
from router.deployments import Deployment, Provider, Route
from router.gates import Gates
from router.health import Health
from router.plan import plan
from router.registry import facts_of

CALLS: Final = 5_000
ROUNDS: Final = 7


def a_route() -> Route:
    """Three deployments at three providers, of models that the registry knows."""
    price = Price(version="bench", base=Tier(input=10**9, output=4 * 10**9))
    return Route(name="chat", targets=tuple(_deployment(price, model) for model in ("gpt-4o", "gpt-5-mini", "gpt-4.1")))


async def rounds() -> list[float]:
    """CPU microseconds a call, a round each."""
    route = a_route()
    health = Health(BreakerRule(), now_s=time.monotonic, now_ms=lambda: time.time_ns() // 1_000_000)
    gates = Gates(target.provider for target in route.targets)
    body = {"messages": [{"role": "user", "content": "Name the smallest coin there was."}], "max_tokens": 40}
    call = Call(
        generation_id="gen_1",
        model="chat",
        body={**body, "temperature": 0, "reasoning_effort": "low"},
        stream=False,
        received_at_ms=0,
        deadline_s=60.0,
        attribution=Attribution(),
        cache=CacheWish(),
        trace=Trace(trace_id="0" * 32, server_span_id="1" * 16, chat_span_id="2" * 16),
    )
    figures: list[float] = []
    for _ in range(ROUNDS):
        began_s = time.process_time()
        for _ in range(CALLS):
            returns = {target.id: health.returns_in_s(target.id) for target in route.targets}
            candidates = plan(
                call, route, limited_units=lambda _: {"usd"}, returns_in_s=returns, asked_as=health.hints.asked_as
            )
            chosen = candidates[0].deployment
            await health.admit(chosen.id)
            async with gates.gate(chosen.provider).pass_through():
                pass
            health.hints.succeeded(chosen.id, workflow="", endpoint="")
            health.record(chosen.id, BreakerEvent.SUCCESS, latency_us=800_000)
        figures.append((time.process_time() - began_s) / CALLS * 1e6)
    return figures


def _deployment(price: Price, model: str) -> Deployment:
    facts = facts_of(model)
    return Deployment(
        provider=Provider(name=f"p-{model}", dialect="openai", base_url="http://127.0.0.1:1/v1", max_concurrency=12),
        model=model,
        price=price,
        encoding="o200k_base",
        context_window=facts.context_window,
        max_output_tokens=facts.max_output_tokens,
        supports=facts.supports,
        adaptation=facts.adaptation,
    )


def main() -> None:
    """Print the figure."""
    figures = asyncio.run(rounds())
    print(f"planned and let through: {statistics.median(figures):.0f} µs of CPU a call (aim: below 100), of 3 targets")
    print(f"rounds: {', '.join(f'{figure:.0f}' for figure in figures)}")


if __name__ == "__main__":
    main()
