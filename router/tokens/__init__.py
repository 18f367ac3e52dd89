"""Token counts, without a download and without holding up the event loop."""

from router.tokens.chat import Prompt, Text
from router.tokens.counter import TokenCounter
from router.tokens.encodings import encoding_for

__all__ = ["Prompt", "Text", "TokenCounter", "encoding_for"]
