"""What `farthing serve` loads before its first call, and what it leaves to whoever needs it."""

import gc
import os
import subprocess
import sys

from service.commands.serve import _loading

LOADS = """
import sys
from service.commands.serve import _loading
with _loading():
    import service.server
print(*sorted({name.partition(".")[0] for name in sys.modules}))
import httpx
print(httpx.Response.__name__, callable(httpx.main))
"""
# Who exports, colours a terminal or reads mail loads these when the time has come.
LATER = {"google", "pygments", "requests", "rich", "urllib3"}


def test_what_only_some_need_is_not_loaded_at_the_start():
    command = [sys.executable, "-c", LOADS]
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ)).stdout.splitlines()
    assert not LATER & set(told[0].split())
    assert {"httpx", "litestar", "granian"} <= set(told[0].split())
    assert told[1] == "Response True"


def test_while_code_is_loaded_nobody_looks_for_garbage_and_afterwards_they_do_again():
    try:
        with _loading():
            assert not gc.isenabled()
            kept = [[]]
            kept[0].append(kept)
        assert gc.isenabled()
        assert gc.get_freeze_count()
        assert not any(it is kept for it in gc.get_objects())
    finally:
        gc.unfreeze()
