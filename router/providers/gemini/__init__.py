"""Google's Gemini API.

`dialect` speaks it. `request` (with `contents`, `tools` and `models`) says what is sent, and is asked while a call is
planned; `reading` (with `usage`) says what an answer means.
"""
