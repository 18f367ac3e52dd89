"""The outward side: one way out, one file for each wire format, and every misdeed of a provider as a Fault.

`upstream` says what a dialect is; `client` holds what dialects over HTTP share; `transport` is the way out; `sse` reads
events; `openai`, `anthropic`, `gemini` and `local` are dialects. Only this package knows httpx and aiohttp.
"""
