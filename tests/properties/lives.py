"""How many lives a state machine has in a test, and where."""

from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis.stateful import run_state_machine_as_test


def lives(count, steps):
    """So many, of so many steps each at most."""
    return settings(max_examples=count, stateful_step_count=steps, deadline=None, report_multiple_bugs=False)


def until_one_fails(count, steps):
    """The same ones every time, and nobody asks for the shortest."""
    return settings(
        lives(count, steps),
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )


def run_on(home, machine, bounds):
    """Run this machine's lives in this home, one after the other."""
    run_state_machine_as_test(type(machine.__name__, (machine,), {"home": home}), settings=bounds)
