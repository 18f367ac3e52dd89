"""Anthropic's wire format in: `POST /v1/messages` and `/v1/messages/count_tokens`.

`wire` is the format as a whole; `body` says what a body becomes, `blocks` what an answer's content looks like, `events`
how it is streamed, `errors` how refusals are told.
"""
