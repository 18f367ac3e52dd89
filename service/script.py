"""One call without the HTTP edge: for `farthing ask`, and for scripts that call `router.chat_complete`."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from ledger.errors import LedgerError, NotALedger
from router import ChatFailed
from router.call import Attribution, CacheWish, Call, Trace
from router.errors import RouterError
from router.providers.local import LocalModelUnavailable
from router.reply import Reply
from service.assembly import open_parts
from service.clock import now_ms
from service.config import Config, ConfigInvalid, load_config
from service.errors import problem_of
from service.ids import new_generation_id
from telemetry import new_span_id, new_trace_id

WORKFLOW: Final = "script"


@asynccontextmanager
async def open_reply(
    messages: Sequence[Mapping[str, Any]], *, temperature: float | None, stream: bool
) -> AsyncIterator[Reply]:
    """See `router.script.Opener`."""
    body: dict[str, Any] = {"messages": [dict(message) for message in messages]}
    if temperature is not None:
        body["temperature"] = temperature
    try:
        config = load_config(None, os.environ)
        async with open_parts(config, os.environ) as parts:
            reply = await parts.gateway.generate(new_call(config, body, model=None, workflow=WORKFLOW, stream=stream))
            try:
                yield reply
            finally:
                await reply.aclose()
    except ConfigInvalid as error:
        raise ChatFailed("\n".join(error.lines), code="config_invalid") from error
    except NotALedger as error:
        raise ChatFailed(str(error), code=error.code) from error
    except LocalModelUnavailable as error:
        raise ChatFailed(str(error), code="no_deployment_available") from error
    except (RouterError, LedgerError) as error:
        problem = problem_of(error, now_ms())
        raise ChatFailed(problem.detail, code=problem.code) from error


def new_call(config: Config, body: dict[str, Any], *, model: str | None, workflow: str, stream: bool) -> Call:
    """A call of this machine's own, under the config's deadline. body: as `Call.body`."""
    return Call(
        generation_id=new_generation_id(now_ms()),
        model=model,
        body=body,
        stream=stream,
        received_at_ms=now_ms(),
        deadline_s=config.router.deadline_ms / 1000,
        attribution=Attribution(workflow=workflow),
        cache=CacheWish(),
        trace=Trace(trace_id=new_trace_id(), server_span_id=new_span_id(), chat_span_id=new_span_id()),
    )
