"""How far estimates of prompts are off after twenty calls: `python -m benchmarks.token_estimates`.

Calls as they are made: chats of one to nine messages, a third of them with tools; of prose, of code, or of all that,
JSON and other languages. Providers who count otherwise: another vocabulary, words and numbers cut by other rules, their
own tokens for a call, a message and tools. Told is the median error of the calls after the twentieth, counted plainly
and with what was learned, and the error that nine of ten stay below.
"""

import asyncio
import random
import re
import statistics
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import tiktoken

from router.call import Attribution, CacheWish, Call, Trace
from router.token_estimates import REMEMBERED, Answered, Known, after, estimated_tokens, weights_of
from router.tokens import TokenCounter
from router.tokens.chat import schemas_of, texts_of
from router.tokens.encodings import DEFAULT_ENCODING, load_encoding

CALLS: Final = 60
LEARNED_AFTER: Final = 20
SEEDS: Final = 3
ROOT: Final = Path(__file__).parents[1]

Tokenizer = Callable[[str], float]


class Counting(msgspec.Struct, frozen=True, kw_only=True):
    """How a provider counts: a text, and what it adds to a call, to a message, to each tool and where there are any.

    per_schema: how often a token of a schema counts, as the provider writes it out.
    """

    tokenizer: Tokenizer
    per_call: int = 0
    per_message: int = 0
    per_tool: int = 0
    per_tools: int = 0
    per_schema: float = 1.0

    def tokens(self, body: dict[str, Any]) -> int:
        """What it says of a call."""
        tools = len(body.get("tools", ()))
        texts = sum(map(self.tokenizer, texts_of(body)))
        schemas = self.per_schema * sum(map(self.tokenizer, schemas_of(body)))
        own = self.per_call + self.per_message * len(body["messages"]) + self.per_tool * tools
        return round(texts + schemas + own + (self.per_tools if tools else 0))


def cut_by_words(letters: int, *, per_foreign: float) -> Tokenizer:
    """Words into pieces of so many letters, digits and signs one by one, spaces with the word behind them."""
    pieces = re.compile(r"[A-Za-z]+|\d|[^\x00-\x7f]|\s{2,}|[^\w\s]")

    def count(text: str) -> float:
        found = pieces.findall(text)
        return sum(-(-len(it) // letters) if it.isascii() else per_foreign for it in found)

    return count


def another_vocabulary() -> Tokenizer:
    """One that a model had before."""
    encoding: tiktoken.Encoding = load_encoding("cl100k_base")
    return lambda text: len(encoding.encode_ordinary(text))


def providers() -> dict[str, Counting]:
    """By what they differ in."""
    older, cut_small, cut_large = (
        another_vocabulary(),
        cut_by_words(6, per_foreign=0.5),
        cut_by_words(8, per_foreign=0.3),
    )
    return {
        "another vocabulary": Counting(tokenizer=older, per_call=3, per_message=4, per_tool=12, per_schema=0.9),
        "smaller pieces, 346 tokens where there are tools": Counting(
            tokenizer=cut_small, per_call=8, per_message=3, per_tool=20, per_tools=346, per_schema=1.2
        ),
        "larger pieces, nothing of its own": Counting(tokenizer=cut_large, per_message=1, per_tool=5, per_schema=0.6),
        "1,200 tokens of its own in every call": Counting(
            tokenizer=older, per_call=1200, per_message=4, per_tool=12, per_tools=100
        ),
    }


def texts() -> dict[str, tuple[str, ...]]:
    """{kind: what calls are made of}, from this repository."""
    prose = [path.read_text("utf-8") for path in sorted(ROOT.glob("*.md"))]
    code = [path.read_text("utf-8") for path in sorted((ROOT / "router").glob("*.py"))]
    book = (ROOT / "ledger/prices/book.json").read_text("utf-8")
    foreign = (
        "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему. ",  # noqa: RUF001
        "道可道，非常道。名可名，非常名。無名天地之始；有名萬物之母。",  # noqa: RUF001
        "Habe nun, ach! Philosophie, Juristerei und Medizin durchaus studiert, mit heißem Bemühn. ",
    )
    return {
        "prose": tuple(prose),
        "code": tuple(code),
        "json": (book[:200_000],),
        "foreign": tuple(text * 200 for text in foreign),
    }


def tools(many: int) -> list[dict[str, Any]]:
    """So many tools, each with more to say than the one before."""
    return [
        {
            "type": "function",
            "function": {
                "name": f"look_up_{many}_{number}",
                "description": f"Looks things up in the {'very ' * number}large store and gives back what it finds.",
                "parameters": {
                    "type": "object",
                    "properties": {f"word_{it}": {"type": "string", "description": "One"} for it in range(number + 1)},
                },
            },
        }
        for number in range(many)
    ]


def calls(rng: random.Random, kinds: tuple[str, ...], said: Mapping[str, tuple[str, ...]]) -> Iterator[dict[str, Any]]:
    """CALLS of one program's."""
    for _ in range(CALLS):
        messages = []
        for _ in range(rng.choice((1, 2, 2, 2, 3, 4, 6, 9))):
            whole = rng.choice(said[rng.choice(kinds)])
            length = min(round(rng.lognormvariate(6, 1.2)) + 15, len(whole) - 1, 10_000)
            start = rng.randrange(len(whole) - length)
            messages.append({"role": "user", "content": whole[start : start + length]})
        body: dict[str, Any] = {"messages": messages}
        if rng.random() < 1 / 3:
            body["tools"] = tools(rng.choice((2, 5, 8)))
        yield body


def a_call(body: dict[str, Any]) -> Call:
    """A chat with this body."""
    return Call(
        generation_id="gen_1",
        model="chat",
        body=body,
        stream=False,
        received_at_ms=0,
        deadline_s=60.0,
        attribution=Attribution(),
        cache=CacheWish(),
        trace=Trace(trace_id="1" * 32, server_span_id="1" * 16, chat_span_id="2" * 16),
    )


async def errors(counter: TokenCounter, bodies: list[dict[str, Any]], counting: Counting) -> list[tuple[float, float]]:
    """(the error of the plain count, of the estimate) of every call after those that were learned from."""
    known, found = Known(), list[tuple[float, float]]()
    for body in bodies:
        prompt = await counter.count_prompt(a_call(body), DEFAULT_ENCODING)
        reported = counting.tokens(body)
        estimated = estimated_tokens(weights_of(known), prompt)
        found.append((abs(prompt.tokens - reported) / reported, abs(estimated - reported) / reported))
        known = after(known, [Answered(prompt, estimated, reported)])
        assert len(known.answers) <= REMEMBERED
    return found[LEARNED_AFTER:]


TRAFFIC: Final = {
    "prose": ("prose",),
    "code": ("code",),
    "all sorts": ("prose", "prose", "code", "json", "foreign"),
}


async def main() -> None:
    """Print a row for each provider and sort of calls."""
    counter, said, rows = TokenCounter(), texts(), []
    for name, counting in providers().items():
        for sort, kinds in TRAFFIC.items():
            found: list[tuple[float, float]] = []
            for seed in range(SEEDS):
                found += await errors(counter, list(calls(random.Random(seed), kinds, said)), counting)
            plain, learned = (sorted(side) for side in zip(*found, strict=True))
            ninth = learned[round(0.9 * len(learned))]
            rows.append((name, sort, statistics.median(plain), statistics.median(learned), ninth))
    width = max(len(name) for name, *_ in rows)
    print(f"{'provider':{width}}  {'calls':9}  plain count   learned   9 in 10 below")
    for name, sort, plain_error, learned_error, ninth in rows:
        print(f"{name:{width}}  {sort:9}  {plain_error:11.1%}   {learned_error:7.1%}   {ninth:14.1%}")


if __name__ == "__main__":
    asyncio.run(main())
