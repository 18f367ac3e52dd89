"""Valkey or Redis as the cache server: bodies of stored responses, never money."""
