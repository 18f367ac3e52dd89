"""What names and hosts in a config must look like. Pure."""

import ipaddress
from typing import Final

MAX_MODEL_CHARS: Final = 256


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_model_name(text: str) -> bool:
    """Whether it can name a model: in a header, in a log, and in a table."""
    return 0 < len(text) <= MAX_MODEL_CHARS and text.isascii() and text.isprintable() and " " not in text


def is_name(text: str) -> bool:
    """Whether it can name a part of the config: letters, digits, '.', '_' and '-'."""
    return is_model_name(text) and all(character.isalnum() or character in "._-" for character in text)
