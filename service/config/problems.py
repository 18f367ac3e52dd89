"""What is wrong with a config: every problem at once, each with its place."""

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """One thing to mend. place: like `providers[1].timeout_s`, or empty for the whole file."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" if self.place else self.text


class ConfigInvalid(Exception):
    """The config cannot be used. Nothing was started."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems
