"""The child: `python -m router.providers.local.child PARENT`, started by `process.py`.

It leaves when its standard input ends, which is how it is stopped and how it notices that its parent is gone. On
Linux the kernel kills it with its parent as well, so that it cannot outlive it while a library holds the interpreter.
"""

import ctypes
import http.client
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from router.providers.local.handover import ChildSettings, Serving

_PR_SET_PDEATHSIG: Final = 1
_STDIN, _STDOUT, _STDERR = 0, 1, 2
WARNINGS_AND_ERRORS: Final = 2
WARM_WITHIN_S: Final = 60.0
WARM_POLL_S: Final = 0.02
REQUEST_TIMEOUT_S: Final = 10.0


def main() -> None:
    """Serve until standard input ends."""
    _die_with(int(sys.argv[1]))
    # A stop that is sent to the whole group of processes must not break the calls that the parent still drains.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    line = sys.stdin.buffer.readline()
    if not line:
        return
    settings = msgspec.json.decode(line, type=ChildSettings)
    watch = threading.Thread(target=_leave_at_end_of_input, daemon=True)
    watch.start()
    answer = os.dup(_STDOUT)
    # The library may print what it likes: the parent expects nothing but the answer.
    os.dup2(_STDERR, _STDOUT)
    server = _start(settings)
    serving = _wait_warm(server.listening_address, settings.api_key)
    os.write(answer, msgspec.json.encode(serving) + b"\n")
    os.close(answer)
    watch.join()


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have gone before the kernel was told.
    if os.getppid() != parent:
        sys.exit(0)


def _leave_at_end_of_input() -> None:
    try:
        while os.read(_STDIN, 4096):
            pass
    finally:
        os._exit(0)


def _start(settings: ChildSettings) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings.model_path
    params.model_alias = [Path(settings.model_path).stem]  # Its path is nobody's business.
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [settings.api_key]
    params.n_parallel = settings.slots
    params.n_ctx = settings.slots * settings.slot_context_tokens
    params.cpuparams.n_threads = settings.threads
    params.cpuparams_batch.n_threads = settings.threads
    # Its store of old prompts may take 8 GB by default. A slot still reuses what it read last.
    params.cache_ram_mib = 0
    # The context is chosen above; fitting it to the machine would load the model once more.
    params.fit_params = False
    # Answers cost what they did without it: batches of them make no vectors.
    params.embedding = True
    if settings.is_packaged:
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.offline = True
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = WARNINGS_AND_ERRORS
    return xllamacpp.Server(params)


def _wait_warm(url: str, api_key: str) -> Serving:
    """The address once `/health` says ok there. Raises TimeoutError, or OSError when nothing listens."""
    give_up_at_s = time.monotonic() + WARM_WITHIN_S
    while _get(url, "/health", api_key)[0] != 200:
        if time.monotonic() > give_up_at_s:
            raise TimeoutError(f"the server did not become healthy within {WARM_WITHIN_S:.0f} s")
        time.sleep(WARM_POLL_S)
    _, body = _get(url, "/props", api_key)
    props = msgspec.json.decode(body)
    return Serving(url=url, context_window=int(props["default_generation_settings"]["n_ctx"]))


def _get(url: str, path: str, api_key: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=REQUEST_TIMEOUT_S)
    try:
        connection.request("GET", path, headers={"authorization": f"Bearer {api_key}"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


if __name__ == "__main__":
    main()
