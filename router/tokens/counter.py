"""Counts tokens: small texts at once, larger ones in a thread that leaves the event loop alone.

Nobody can stall others with much to count: beyond a million characters a sample stands for the whole, and of the two
threads the largest texts have but one. Source: DESIGN §9; tiktoken releases the GIL, takes time linear in the text when
it is cut in pieces, and panics on a run of a million spaces.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import lru_cache
from typing import Final

import tiktoken

from router.call import Call
from router.embeddings import inputs_of
from router.large import aside
from router.tokens.chat import Prompt, Text, schemas_of, structure_of, texts_of
from router.tokens.encodings import load_encoding
from router.tokens.plain import plain_tokens

INLINE_CHARS: Final = 16_000
# Texts beyond this share one thread.
LARGE_CHARS: Final = 200_000
# As many characters are counted, spread evenly; the rest is taken to be like them.
SAMPLE_CHARS: Final = 1_000_000
# tiktoken gives all tokens of a piece as a list, which is made and freed in one step: of 100,000 emoji in 2 ms.
PIECE_CHARS: Final = 10_000
SHORT_CHARS: Final = 16
GOLDEN_RATIO: Final = 0.618
DIGITS: Final = "0123456789"
_THREADS: Final = ThreadPoolExecutor(max_workers=2, thread_name_prefix="tokens")
# Where the tokenizer itself gives up: bytes a token of ordinary text, rounded down so that the count is not too low.
BYTES_PER_TOKEN: Final = 3


class TokenCounter:
    """Owns the encodings, each loaded once, in a thread, when it is first needed.

    load: gives the encoding of a name; it may take long.
    """

    def __init__(self, *, load: Callable[[str], tiktoken.Encoding] = load_encoding) -> None:
        self._load_encoding = load
        self._encodings: dict[str, asyncio.Task[tiktoken.Encoding]] = {}
        self._large = asyncio.Semaphore(1)

    def warm(self, encodings: Iterable[str]) -> None:
        """Start loading these, so that the first call need not wait for it."""
        for encoding in encodings:
            self._load(encoding)

    async def count_output(self, text: str, encoding: str) -> Text:
        """What a model wrote. Special tokens in it count as the text that they are."""
        return await self._count([text], encoding) if text else Text()

    async def count_prompt(self, call: Call, encoding: str) -> Prompt:
        """Estimated tokens of all that a call has its model read: texts and schemas, and what its structure adds."""
        known, texts, schemas = await aside(lambda: _what_counts(call), size=call.body_bytes)
        text = await self._count(texts, encoding)
        return known.with_counted(text, (await self._count(schemas, encoding)).tokens if schemas else 0)

    async def _count(self, texts: list[str], encoding: str) -> Text:
        loading = self._load(encoding)
        # Shielded: others wait for the same load.
        loaded = loading.result() if loading.done() else await asyncio.shield(loading)
        chars = sum(map(len, texts))
        if chars <= INLINE_CHARS:
            return _counted(loaded, texts)
        async with self._large if chars > LARGE_CHARS else nullcontext():
            return await asyncio.get_running_loop().run_in_executor(_THREADS, _counted, loaded, texts)

    def _load(self, encoding: str) -> asyncio.Task[tiktoken.Encoding]:
        loading = self._encodings.get(encoding)
        if loading is None:
            loading = self._encodings[encoding] = asyncio.create_task(asyncio.to_thread(self._load_encoding, encoding))
        return loading


def _what_counts(call: Call) -> tuple[Prompt, list[str], list[str]]:
    """What is known without counting, and the texts and schemas to count."""
    if call.kind == "chat":
        return structure_of(call.body), list(texts_of(call.body)), list(schemas_of(call.body))
    given = inputs_of(call.body)
    known = Prompt(0, Text(sum(len(tokens) for tokens in given if isinstance(tokens, list))))
    return known, [text for text in given if isinstance(text, str)], []


def _counted(encoding: tiktoken.Encoding, texts: Iterable[str]) -> Text:
    pieces = [text[start : start + PIECE_CHARS] for text in texts for start in range(0, len(text), PIECE_CHARS)]
    chars = sum(map(len, pieces))
    sampled = tokens = utf8_bytes = digits = 0
    for piece in _spread(pieces) if chars > SAMPLE_CHARS else pieces:
        if sampled >= SAMPLE_CHARS:
            break
        counts = _of_short(encoding, piece) if len(piece) <= SHORT_CHARS else _of_piece(encoding, piece)
        tokens, utf8_bytes, digits = tokens + counts[0], utf8_bytes + counts[1], digits + counts[2]
        sampled += len(piece)
    if not sampled:
        return Text()
    return Text(*(count * chars // sampled for count in (tokens, sampled, utf8_bytes - sampled, digits)))


def _spread(pieces: list[str]) -> Iterator[str]:
    """All pieces, the first ones of them from everywhere, and in step with no pattern of theirs (roles, texts, …)."""
    count = len(pieces)
    stride = round(count * GOLDEN_RATIO)
    while math.gcd(stride, count) != 1:
        stride += 1
    return (pieces[index * stride % count] for index in range(count))


def _of_piece(encoding: tiktoken.Encoding, piece: str) -> tuple[int, int, int]:
    """Its tokens, the bytes of its UTF-8, and its digits."""
    utf8_bytes = len(piece) if piece.isascii() else len(piece.encode("utf-8", "surrogatepass"))
    return _piece_tokens(encoding, piece), utf8_bytes, sum(map(piece.count, DIGITS))


@lru_cache(maxsize=1024)
def _of_short(encoding: tiktoken.Encoding, piece: str) -> tuple[int, int, int]:
    """The same, remembered: every message has a role, and many have a name."""
    return _of_piece(encoding, piece)


def _piece_tokens(encoding: tiktoken.Encoding, piece: str) -> int:
    if (tokens := plain_tokens(encoding, piece)) is not None:
        return tokens
    try:
        return len(encoding.encode_ordinary(piece))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        if type(error).__name__ != "PanicException" and not isinstance(error, ValueError):
            raise
        return -(-len(piece.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)
