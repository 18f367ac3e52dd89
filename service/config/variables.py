"""Single environment variables, read by their kind. Empty means unset."""

import math
from collections.abc import Mapping
from typing import Final

from service.config.problems import Problem

MAX_SECONDS: Final = 10_000_000.0


class Variables:
    """The environment. What is wrong with a variable is noted in `problems`, in its name; then it counts as unset."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self._environ = environ

    def text(self, name: str) -> str:
        """Its value without spaces around it."""
        return self._environ.get(name, "").strip()

    def wrong(self, name: str, text: str) -> None:
        """Note what is wrong with it."""
        self.problems.append(Problem(name, text))

    def whole(self, name: str, *, most: int) -> int | None:
        """A whole number from 1 to `most`."""
        text = self.text(name)
        if not text:
            return None
        # By its characters: int() also takes underscores, signs and the digits of every script.
        if text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 1 <= int(text) <= most:
            return int(text)
        self.wrong(name, f"{text!r} is no whole number from 1 to {most}")
        return None

    def seconds(self, name: str) -> float | None:
        """A number of seconds above 0."""
        text = self.text(name)
        if not text:
            return None
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if math.isfinite(number) and 0 < number <= MAX_SECONDS:
            return number
        self.wrong(name, f"{text!r} is no number of seconds above 0")
        return None
