"""Which encoding a model uses, and the encodings themselves, from the vocabularies in this package."""

import gzip
import hashlib
from importlib.resources import files
from typing import Final

import msgspec
import tiktoken

DEFAULT_ENCODING: Final = "o200k_base"
# About a millisecond's work.
PIECE_BYTES: Final = 32_768

# The first prefix that fits decides. What is not here (Claude, Gemini, Llama, …) is counted with the default: that is
# an estimate, and so it is called wherever it shows. Source: tiktoken/model.py; gpt-oss' harmony tokens are not text.
_FAMILIES: Final = (
    ("gpt-4o", "o200k_base"),
    ("gpt-4.1", "o200k_base"),
    ("gpt-4.5", "o200k_base"),
    ("gpt-4", "cl100k_base"),
    ("gpt-3.5", "cl100k_base"),
    ("gpt-35", "cl100k_base"),
    ("text-embedding", "cl100k_base"),
    ("text-davinci", "cl100k_base"),
    ("code-davinci", "cl100k_base"),
    ("davinci-002", "cl100k_base"),
    ("babbage-002", "cl100k_base"),
)

_WORD: Final = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_SMALL: Final = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_ENDING: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"


class _Vocabulary(msgspec.Struct, frozen=True, kw_only=True):
    """sha256: of the unpacked file, as OpenAI publishes it. pattern: how text is cut before it is encoded."""

    sha256: str
    pattern: str
    special_tokens: dict[str, int]


# Source: tiktoken_ext/openai_public.py.
_VOCABULARIES: Final = {
    "o200k_base": _Vocabulary(
        sha256="446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        pattern="|".join(
            [
                rf"[^\r\n\p{{L}}\p{{N}}]?{_WORD}*{_SMALL}+{_ENDING}",
                rf"[^\r\n\p{{L}}\p{{N}}]?{_WORD}+{_SMALL}*{_ENDING}",
                r"\p{N}{1,3}",
                r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
                r"\s*[\r\n]+",
                r"\s+(?!\S)",
                r"\s+",
            ]
        ),
        special_tokens={"<|endoftext|>": 199999, "<|endofprompt|>": 200018},
    ),
    "cl100k_base": _Vocabulary(
        sha256="223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        pattern=(
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|"
            r"\s+(?!\S)|\s"
        ),
        special_tokens={
            "<|endoftext|>": 100257,
            "<|fim_prefix|>": 100258,
            "<|fim_middle|>": 100259,
            "<|fim_suffix|>": 100260,
            "<|endofprompt|>": 100276,
        },
    ),
}
ENCODINGS: Final = tuple(_VOCABULARIES)


def encoding_for(model: str) -> str:
    """The encoding that this model's tokens are counted with. A vendor's prefix (`openai/gpt-4`) does not matter."""
    name = model.rpartition("/")[2].lower()
    return next((encoding for prefix, encoding in _FAMILIES if name.startswith(prefix)), DEFAULT_ENCODING)


def load_encoding(name: str) -> tiktoken.Encoding:
    """Build an encoding from the packed vocabulary. Takes a few tenths of a second; raises KeyError for other names.

    For counting only: it cannot be pickled, for what that needs is not kept (29 MB for o200k_base).
    """
    vocabulary = _VOCABULARIES[name]
    packed = files("router.tokens.vocabularies").joinpath(f"{name}.tiktoken.gz").read_bytes()
    content = gzip.decompress(packed)
    if hashlib.sha256(content).hexdigest() != vocabulary.sha256:
        raise RuntimeError(f"the packed vocabulary {name} is damaged: install farthing again")
    encoding = tiktoken.Encoding(
        name, pat_str=vocabulary.pattern, mergeable_ranks=_ranks(content), special_tokens=vocabulary.special_tokens
    )
    encoding._mergeable_ranks = {}  # noqa: SLF001  Its own core has a copy, and is what counts.
    return encoding


def _ranks(content: bytes) -> dict[bytes, int]:
    """{token: its rank}, of lines that each have a token in base64, a space and a rank.

    Read as JSON, of which all is decoded in C. In pieces: each is one call, during which no other thread runs.
    """
    decoder = msgspec.json.Decoder(dict[bytes, int])
    ranks = dict[bytes, int]()
    start, size = 0, len(content.rstrip(b"\n"))
    while start < size:
        end = size if size - start <= PIECE_BYTES else content.index(b"\n", start + PIECE_BYTES)
        lines = content[start:end].replace(b" ", b'":').replace(b"\n", b',"')
        ranks.update(decoder.decode(b'{"%b}' % lines))
        start = end + 1
    return ranks
