"""What a provider's refusal teaches about how to ask it: at another endpoint, by another field, without one. Pure.

Only refusals in the words of a known provider teach, and only what keeps the call's meaning: messages, tools and the
form of the answer are never left out for it.
"""

import re
from typing import Any, Final

import msgspec

from router.faults import Fault

CHAT: Final = "v1/chat/completions"
RESPONSES: Final = "v1/responses"
ENDPOINTS: Final = frozenset({CHAT, RESPONSES})
# What may be left out: it shapes how the model answers, not what it is asked.
SPARABLE: Final = frozenset(
    {
        "temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs",
        "seed", "reasoning_effort", "reasoning", "thinking_budget", "thinking", "include_thoughts", "verbosity",
        "parallel_tool_calls", "user", "metadata", "store", "stop",
    }
)  # fmt: skip
# Of these no value is taken but the default, once one was refused; of others, only that one.
_WITHOUT_VALUES: Final = frozenset({"temperature", "top_p", "presence_penalty", "frequency_penalty"})
_MOVED: Final = re.compile(r"only supported in (?:the )?/?(v1/[a-z/_]+)(?: and not in (?:the )?/?(v1/[a-z/_]+))?")
_NOT_HERE: Final = re.compile(r"not supported in (?:the )?/?(v1/[a-z/_]+).{0,80}?use (?:the )?/?(v1/[a-z/_]+)")
_RENAMED: Final = re.compile(r"'(\w+)' is not supported with this model\. use '(\w+)' instead")
_UNKNOWN: Final = re.compile(r"(?:un(?:supported|known) parameter|unrecognized request argument supplied): '?(\w+)")
# Google's words for what only some of its models have.
_NOT_ENABLED: Final = re.compile(r"^(\w+) is not enabled for ")
_VALUE: Final = re.compile(r"unsupported value: '(\w+)'")


class Adaptation(msgspec.Struct, frozen=True, kw_only=True):
    """How a deployment wants to be asked. endpoint: empty for its dialect's own. renamed: {field: what it is here}."""

    endpoint: str = ""
    renamed: dict[str, str] = {}
    dropped: frozenset[str] = frozenset()

    def with_learned(self, learned: "Adaptation") -> "Adaptation":
        """What is known of it, and what was learned since, which counts more."""
        if learned == AS_IT_IS:
            return self
        return Adaptation(
            endpoint=learned.endpoint or self.endpoint,
            renamed={**self.renamed, **learned.renamed},
            dropped=self.dropped | learned.dropped,
        )

    def with_lesson(self, lesson: "Lesson") -> "Adaptation":
        """As it is asked once this was learned."""
        return Adaptation(
            endpoint=lesson.endpoint or self.endpoint,
            renamed={**self.renamed, **lesson.renamed},
            dropped=self.dropped | ({lesson.dropped} if lesson.dropped else set()),
        )

    def applied(self, body: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The body as it is asked, and the names of what was left out."""
        if not self.dropped and not self.renamed:
            return body, ()
        dropped = tuple(name for name in body if name in self.dropped)
        if not dropped and not any(name in body for name in self.renamed):
            return body, ()
        kept = {self.renamed.get(name, name): value for name, value in body.items() if name not in self.dropped}
        # Where both names were given, the one that is right here stands.
        kept.update({name: body[name] for name in self.renamed.values() if name in body})
        return kept, dropped


AS_IT_IS: Final = Adaptation()


class Lesson(msgspec.Struct, frozen=True, kw_only=True):
    """What one refusal taught. is_lasting: it holds for other calls too."""

    endpoint: str = ""
    not_endpoint: str = ""
    renamed: dict[str, str] = {}
    dropped: str = ""
    is_lasting: bool = True


def lesson_of(fault: Fault, body: dict[str, Any], *, has_endpoints: bool) -> Lesson | None:
    """What this refusal of this body teaches. None: nothing. has_endpoints: its dialect knows more than one."""
    if fault.status is None or not 400 <= fault.status < 500 or fault.error_body is None:
        return None
    words = fault.message.lower()
    if has_endpoints and (moved := _moved(words)) is not None:
        return moved
    if (match := _RENAMED.search(words)) and match[1] in body and match[2] == "max_completion_tokens":
        return Lesson(renamed={match[1]: match[2]})
    for pattern in (_UNKNOWN, _NOT_ENABLED, _VALUE):
        match = pattern.search(words)
        if match is not None and match[1] in SPARABLE and match[1] in body:
            return Lesson(dropped=match[1], is_lasting=pattern is not _VALUE or match[1] in _WITHOUT_VALUES)
    return None


def _moved(words: str) -> Lesson | None:
    if (match := _MOVED.search(words)) and match[1] in ENDPOINTS:
        return Lesson(endpoint=match[1], not_endpoint=match[2] or "")
    if (match := _NOT_HERE.search(words)) and match[2] in ENDPOINTS:
        return Lesson(endpoint=match[2], not_endpoint=match[1])
    return None
