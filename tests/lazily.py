"""Packages that are imported at their first use: Anthropic's takes seconds, which every test process would pay."""

from importlib import import_module
from typing import Any


class _Lazily:
    """Has the package's classes. Nothing else, for whoever collects tests asks each object for this and that."""

    def __init__(self, package: str) -> None:
        self._package = package

    def __getattr__(self, name: str) -> Any:
        if not name[0].isupper():
            raise AttributeError(name)
        return getattr(import_module(self._package), name)


anthropic = _Lazily("anthropic")
