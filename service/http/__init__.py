"""The HTTP application: what Litestar is told, and the ASGI callables that do the work of the hot paths."""
