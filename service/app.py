"""Puts the HTTP application together."""

from typing import cast

from litestar import Litestar
from litestar.exceptions import HTTPException
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.types import ASGIApp

from service.anthropic.wire import AnthropicMessagesWire
from service.http.access import check_role
from service.http.alerts import alert_handlers
from service.http.dashboard import dashboard_handlers
from service.http.edge import Edge
from service.http.estimate import estimate_handler
from service.http.failures import answer_failure
from service.http.generation import GenerationApp, Slots
from service.http.hints import hint_handlers
from service.http.keys import key_handlers
from service.http.live import live_handler
from service.http.options import options_handlers
from service.http.pages import page_handlers
from service.http.paths import generation_handlers
from service.http.repeats import Repeats
from service.http.schema import schema_handlers
from service.http.token_count import token_count_handler
from service.native import NativeWire
from service.openai_chat import OpenAIChatWire
from service.openai_embeddings import OpenAIEmbeddingsWire
from service.parts import Parts
from service.responses.wire import OpenAIResponsesWire


class App(Litestar):
    """Litestar with the one plugin that its own types need.

    Wherever pydantic or attrs is installed it would otherwise load all of it: a fifth of a second, and ten megabytes.
    """

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


def create_app(parts: Parts, slots: Slots | None = None) -> Litestar:
    """The ASGI application over these parts, which the caller opens before and closes after it.

    slots: what calls in progress are counted in, for whoever wants to wait for their end.
    """
    slots, repeats = slots or Slots(parts), Repeats()
    generations = {
        "/generate": GenerationApp(NativeWire(), slots, parts, repeats),
        "/v1/chat/completions": GenerationApp(OpenAIChatWire(), slots, parts, repeats),
        "/v1/messages": GenerationApp(AnthropicMessagesWire(), slots, parts, repeats),
        "/v1/responses": GenerationApp(OpenAIResponsesWire(), slots, parts, repeats),
        "/v1/embeddings": GenerationApp(OpenAIEmbeddingsWire(), slots, parts, repeats),
    }
    handlers = [
        *generation_handlers(generations),
        *page_handlers(parts),
        *hint_handlers(parts),
        live_handler(parts),
        estimate_handler(parts),
        token_count_handler(parts),
        *key_handlers(parts),
        *alert_handlers(parts),
        *schema_handlers(),
        *dashboard_handlers(),
    ]
    app = App(
        # First: where a path has none of these yet, Litestar adds its own.
        route_handlers=[*options_handlers(handlers), *handlers],
        exception_handlers={HTTPException: answer_failure, Exception: answer_failure},
        guards=[check_role],
        openapi_config=None,
        logging_config=None,
    )
    app.asgi_handler = cast("ASGIApp", Edge(app.asgi_handler, parts, generations))
    return app
