"""One call, from route to answer: plan, admit, attempt, classify, settle.

`router.gateway` is the way in. `plan` decides (pure); `dispatch` alone runs attempts; `flights` lets equal calls share
one; `providers` speak to the outside. No SQL here, no web framework; money and memory are the ledger's.

A script calls `chat_complete` or `chat_complete_stream`.
"""

from router.script import ChatFailed, chat_complete, chat_complete_stream

__all__ = ["ChatFailed", "chat_complete", "chat_complete_stream"]
