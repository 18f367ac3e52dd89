"""Anthropic's Messages API.

`dialect` speaks it. `request` (with `messages`, `tools` and `models`) says what is sent, and is asked while a call is
planned; `reading` (with `usage`) says what an answer means.
"""
