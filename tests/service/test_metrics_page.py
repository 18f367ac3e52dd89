"""What is told beside what was counted: ceilings, breakers and the ledger's own figures, as Prometheus has them."""

import asyncio
from typing import Any

from ledger.errors import LedgerUnavailable
from ledger.figures import LedgerFigures
from service.metrics import MOST_CEILINGS, MetricsPage
from telemetry.metrics import Reading, open_metrics

FIGURES = LedgerFigures(
    drift=0, verified_seq=7, verify_s=0.5, wal_bytes=4096, queue_depth=1, alerts_pending=2, alerts_dead=3
)
NOW_MS = 1_795_000_000_000


class Told:
    """A ledger and a router that say what a test wrote, and nothing while the ledger is away."""

    def __init__(self, ceilings: list[dict[str, Any]], deployments: list[dict[str, Any]]) -> None:
        self.ceilings_said = ceilings
        self.deployments = deployments
        self.is_away = False

    async def figures(self) -> LedgerFigures:
        if self.is_away:
            raise LedgerUnavailable
        return FIGURES

    async def ceilings(self) -> list[dict[str, Any]]:
        return self.ceilings_said

    def status(self) -> dict[str, Any]:
        return {"deployments": self.deployments}

    def beat(self) -> None:
        """Nothing stirs."""


def page_of(told: Told) -> MetricsPage:
    return MetricsPage(open_metrics(), told, told, told, now_ms=lambda: NOW_MS)  # type: ignore[arg-type]


def a_ceiling(
    scope: str, *, limit: int, spent: int, held: int = 0, sliced: int = 0, unit: str = "usd"
) -> dict[str, Any]:
    ending = "_nanousd" if unit == "usd" else ""
    amounts = {f"limit{ending}": limit, f"spent{ending}": spent, f"held{ending}": held, f"sliced{ending}": sliced}
    return {"scope": scope, "window": "day", "unit": unit, **amounts}


def a_deployment(name: str, state: str, *, paced_until_ms: int | None, block: object) -> dict[str, Any]:
    breaker = {"state": state, "open_count": 2}
    return {"deployment": name, "breaker": breaker, "paced_until_ms": paced_until_ms, "hints": {"block": block}}


def found(readings: list[Reading], name: str) -> dict[tuple[str, ...], float]:
    return {it.labels: it.numbers[0] for it in readings if it.instrument.prometheus_name == name}


async def test_ceilings_are_told_in_their_units() -> None:
    told = await page_of(
        Told(
            [
                a_ceiling("global", limit=10_000_000_000, spent=2_500_000_000, held=1),
                a_ceiling("key:k", limit=60, spent=6, held=2, sliced=1, unit="calls"),
            ],
            [],
        )
    ).told()
    assert found(told, "farthing_ceiling_limit_usd") == {("global", "day"): 10.0}
    assert found(told, "farthing_ceiling_spent_usd") == {("global", "day"): 2.5}
    assert found(told, "farthing_ceiling_held_usd") == {("global", "day"): 1e-9}
    assert found(told, "farthing_ceiling_limit_calls") == {("key:k", "day"): 60.0}
    assert found(told, "farthing_ceiling_held_calls") == {("key:k", "day"): 2.0}
    assert found(told, "farthing_ceiling_sliced_calls") == {("key:k", "day"): 1.0}
    assert found(told, "farthing_ceiling_limit_tokens") == {}


async def test_of_many_ceilings_the_fullest_are_told() -> None:
    many = [a_ceiling(f"user:{number}", limit=1000, spent=number) for number in range(MOST_CEILINGS + 100)]
    told = await page_of(Told(many, [])).told()
    assert found(told, "farthing_ceilings") == {(): MOST_CEILINGS + 100}
    spent = found(told, "farthing_ceiling_spent_usd")
    assert {scope for scope, _ in spent} == {f"user:{number}" for number in range(100, MOST_CEILINGS + 100)}


async def test_deployments_are_told_with_breaker_pacing_and_block() -> None:
    told = await page_of(
        Told(
            [],
            [
                a_deployment("a:b", "open", paced_until_ms=NOW_MS + 1500, block={"cause": "key"}),
                a_deployment("c:d", "closed", paced_until_ms=None, block=None),
            ],
        )
    ).told()
    states = found(told, "farthing_breaker_state")
    assert {labels for labels, value in states.items() if value} == {("a:b", "open"), ("c:d", "closed")}
    assert len(states) == 6
    assert found(told, "farthing_pacing_remaining_seconds") == {("a:b",): 1.5, ("c:d",): 0.0}
    assert found(told, "farthing_deployment_blocked") == {("a:b",): 1.0, ("c:d",): 0.0}
    assert found(told, "farthing_breaker_openings_total") == {("a:b",): 2.0, ("c:d",): 2.0}


async def test_while_the_ledger_is_away_its_last_figures_stand() -> None:
    source = Told(
        [a_ceiling("global", limit=10, spent=1)], [a_deployment("a:b", "open", paced_until_ms=None, block=None)]
    )
    page = page_of(source)
    before = await page.told()
    source.is_away = True
    source.deployments[0]["breaker"]["state"] = "closed"
    after = await page.told()
    assert found(after, "farthing_ledger_verified_seq") == found(before, "farthing_ledger_verified_seq") == {(): 7.0}
    assert found(after, "farthing_alerts_deliveries") == {("pending",): 2.0, ("dead",): 3.0}
    assert found(after, "farthing_breaker_state")["a:b", "closed"] == 1.0
    assert b"farthing_ceiling_limit_usd" in await asyncio.wait_for(page.render(), 10)
