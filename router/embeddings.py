"""What an embeddings call asks to be embedded. Pure. Source: OpenAI's API reference, "Create embeddings"."""

from typing import Any, Final

ENDPOINT: Final = "v1/embeddings"


def inputs_of(body: dict[str, Any]) -> list[Any]:
    """The inputs, each of which becomes one vector: a text, or a list of token ids."""
    given = body.get("input")
    if isinstance(given, list) and not all(type(token) is int for token in given):
        return given
    return [given]
