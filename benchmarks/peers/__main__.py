"""`make bench-peers`: Farthing beside LiteLLM, Portkey's gateway and the floor. Takes about a quarter of an hour.

Each gateway in turn, A B C A B C …, started anew for its turn, alone on one core; upstream and load on the other. All
go to one upstream, the same loads in the same order, and each is measured beside the direct call of its own turn. What
is told is the median of the rounds. The peers are installed once, into `.peers/`; everything stays on this machine.
"""

import argparse
import sys
from typing import Final

from rich.console import Console
from rich.markup import escape

from benchmarks.__main__ import direct
from benchmarks.peers.environments import NotInstalled
from benchmarks.peers.gateways import Gateway, gateways
from benchmarks.peers.table import ratios, table
from benchmarks.peers.turns import Asked, Figures, NotMeasured, turn
from benchmarks.processes import running_upstream, stay_on_load_core

SECONDS: Final = 4.0
ROUNDS: Final = 3


def main() -> None:
    """Install, measure and print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"how long each load lasts ({SECONDS:g})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how many turns each gateway has ({ROUNDS})")
    parser.add_argument("--only", default="", help="those whose name has this in it, and Farthing")
    asked = parser.parse_args()
    wanted = [it for number, it in enumerate(gateways()) if not number or asked.only.lower() in it.name.lower()]
    found, missing = _installed(wanted)
    turns = _in_turns(found, missing, rounds=asked.rounds, seconds=asked.seconds)
    console = Console(soft_wrap=True, highlight=False)
    for line in (*table(turns, missing), "", *ratios(turns, wanted[0].name)):
        console.print(escape(line))


def _installed(wanted: list[Gateway]) -> tuple[list[Gateway], dict[str, str]]:
    """Those that can be had, and {name: why not} of the others."""
    found, missing = [], {}
    for gateway in wanted:
        _say(f"installing {gateway.name}")
        try:
            gateway.install()
        except NotInstalled as error:
            missing[gateway.name] = error.reason
        else:
            found.append(gateway)
    return found, missing


def _in_turns(
    found: list[Gateway], missing: dict[str, str], *, rounds: int, seconds: float
) -> dict[str, list[Figures]]:
    """{name: what each of its turns came to}. Who did not answer is `missing`, and has no further turn."""
    turns: dict[str, list[Figures]] = {gateway.name: [] for gateway in found}
    stay_on_load_core()
    with running_upstream() as upstream:
        asked = Asked(upstream, direct(upstream), seconds)
        for number in range(rounds):
            for gateway in found:
                if gateway.name in missing:
                    continue
                _say(f"round {number + 1} of {rounds}: {gateway.name}")
                try:
                    turns[gateway.name].append(turn(gateway, asked))
                except (NotMeasured, NotInstalled) as error:
                    missing[gateway.name] = error.reason
    return {name: of_gateway for name, of_gateway in turns.items() if name not in missing}


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")


if __name__ == "__main__":
    main()
