"""Billable tokens from what the Gemini API says of usage, with every event anew. Pure."""

from typing import Any, Final

from ledger.usage import Usage

MAX_TOKENS: Final = 10**9
_COUNTS: Final = (
    "promptTokenCount",
    "cachedContentTokenCount",
    "toolUsePromptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "totalTokenCount",
)
# {what of our classes a modality is counted as in a list: (that list, the modality)}. Video costs as much as text.
_KINDS: Final = {
    "audio": ("promptTokensDetails", "AUDIO"),
    "image": ("promptTokensDetails", "IMAGE"),
    "cached_audio": ("cacheTokensDetails", "AUDIO"),
    "output_audio": ("candidatesTokensDetails", "AUDIO"),
    "output_image": ("candidatesTokensDetails", "IMAGE"),
}


class Counts:
    """What was counted so far. Counts are of all so far, and never shrink: a later event may leave some out."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._kinds: dict[str, int] = {}
        self._is_believable = True

    def add(self, said: Any) -> None:
        """Take in a `usageMetadata`; None: there was none."""
        if said is None:
            return
        if not isinstance(said, dict):
            self._is_believable = False
            return
        for name in _COUNTS:
            self._take(self._counts, name, said.get(name))
        if said.get("cacheTokensDetails"):
            self._kinds.setdefault("cached_audio", 0)  # They would say if there were any.
        for kind, (name, modality) in _KINDS.items():
            details = said.get(name)
            for part in details if isinstance(details, list) else ():
                if isinstance(part, dict) and part.get("modality") == modality:
                    self._take(self._kinds, kind, part.get("tokenCount"))

    def usage(self) -> Usage | None:
        """In our classes. None: the provider did not say, or said what cannot be.

        The prompt includes what was cached, the candidates do not include thoughts, and what tools of the vendor's own
        read is counted apart from both. A count of zero is left out there. Audio and images are counted again among the
        prompt, what was cached, and the candidates.
        """
        if not self._is_believable or "promptTokenCount" not in self._counts:
            return None
        prompt, cached, tools, written, thought, total = (self._counts.get(name, 0) for name in _COUNTS)
        if thought and total == prompt + tools + written and thought <= written:
            # Some models have counted their thoughts among the candidates' words; the total shows it.
            written -= thought
        try:
            return Usage.of(prompt + tools, written + thought, cached=cached, reasoning=thought, **self._kinds)
        except ValueError:
            return None

    def _take(self, counts: dict[str, int], name: str, count: Any) -> None:
        if count is None:
            return
        # By type, for True is an int too.
        if type(count) is int and 0 <= count <= MAX_TOKENS:
            counts[name] = max(count, counts.get(name, 0))
        else:
            self._is_believable = False
