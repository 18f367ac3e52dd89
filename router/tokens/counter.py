"""Counts tokens: small texts at once, large ones in a thread that leaves the event loop alone.

Source: DESIGN §9; tiktoken releases the GIL, takes time linear in the text when it is cut in pieces, and panics on a
run of a million spaces.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

import tiktoken

from router.call import Call
from router.embeddings import inputs_of
from router.tokens.chat import fixed_tokens, texts_of
from router.tokens.encodings import load_encoding

INLINE_CHARS: Final = 16_000
PIECE_CHARS: Final = 100_000
# Where the tokenizer itself gives up: bytes a token of ordinary text, rounded down so that the count is not too low.
BYTES_PER_TOKEN: Final = 3


class TokenCounter:
    """Owns the encodings, each loaded once, in a thread, when it is first needed.

    load: gives the encoding of a name; it may take long.
    """

    def __init__(self, *, load: Callable[[str], tiktoken.Encoding] = load_encoding) -> None:
        self._load_encoding = load
        self._encodings: dict[str, asyncio.Task[tiktoken.Encoding]] = {}

    def warm(self, encodings: Iterable[str]) -> None:
        """Start loading these, so that the first call need not wait for it."""
        for encoding in encodings:
            self._load(encoding)

    async def count_output(self, text: str, encoding: str) -> int:
        """Tokens of what a model wrote. Special tokens in it count as the text that they are."""
        return await self._count([text], encoding) if text else 0

    async def count_call(self, body: dict[str, Any], encoding: str) -> int:
        """Estimated prompt tokens of a chat-completions body: its texts, and what its structure adds."""
        return fixed_tokens(body) + await self._count(list(texts_of(body)), encoding)

    async def count_prompt(self, call: Call, encoding: str) -> int:
        """Estimated tokens of all that a call has its model read."""
        if call.kind == "chat":
            return await self.count_call(call.body, encoding)
        given = inputs_of(call.body)
        texts = [text for text in given if isinstance(text, str)]
        return sum(len(tokens) for tokens in given if isinstance(tokens, list)) + await self._count(texts, encoding)

    async def _count(self, texts: list[str], encoding: str) -> int:
        loading = self._load(encoding)
        # Shielded: others wait for the same load.
        loaded = loading.result() if loading.done() else await asyncio.shield(loading)
        if sum(map(len, texts)) <= INLINE_CHARS:
            return _tokens(loaded, texts)
        return await asyncio.to_thread(_tokens, loaded, texts)

    def _load(self, encoding: str) -> asyncio.Task[tiktoken.Encoding]:
        loading = self._encodings.get(encoding)
        if loading is None:
            loading = self._encodings[encoding] = asyncio.create_task(asyncio.to_thread(self._load_encoding, encoding))
        return loading


def _tokens(encoding: tiktoken.Encoding, texts: Iterable[str]) -> int:
    return sum(
        _piece_tokens(encoding, text[start : start + PIECE_CHARS])
        for text in texts
        for start in range(0, len(text), PIECE_CHARS)
    )


def _piece_tokens(encoding: tiktoken.Encoding, piece: str) -> int:
    try:
        return len(encoding.encode_ordinary(piece))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        if type(error).__name__ != "PanicException" and not isinstance(error, ValueError):
            raise
        return -(-len(piece.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)
