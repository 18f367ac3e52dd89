"""`python -m benchmarks.large_prompts PORT TEXT HEADERS`: prompts of ten megabytes, one after the other, until its end.

TEXT is one of `TEXTS`; HEADERS a JSON object. A process of its own, and the last one to get its core: what it takes to
send them is not in the way of whoever measures small calls meanwhile.
"""

import os
import socket
import sys
from typing import Final

import msgspec

HOST: Final = "127.0.0.1"
PROMPT_BYTES: Final = 10_000_000
# By how wide Python keeps their characters: 1 byte, 1, 2, 4, and 4 for each of many that would need but one.
TEXTS: Final = {
    "ASCII": "The half farthing was the smallest coin. ",
    "Latin-1": "Der halbe Farthing war die kleinste Münze. ",
    "CJK": "半法新是最小的硬幣。",
    "emoji": "🪙👑🏦",
    "ASCII and an emoji": "The half farthing was the smallest coin 🪙. ",
}


def main() -> None:
    """Send until somebody ends this."""
    os.nice(19)
    port, text, headers = int(sys.argv[1]), sys.argv[2], msgspec.json.decode(sys.argv[3], type=dict[str, str])
    body = prompt(text)
    said = head(headers, len(body)) + b"connection: close\r\n\r\n"
    while True:
        with socket.create_connection((HOST, port)) as connection:
            connection.sendall(said)
            connection.sendall(body)
            answer = connection.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            while answer:
                answer = connection.recv(65_536)


def prompt(text: str) -> bytes:
    """The body of a call that goes to the provider each time."""
    one = TEXTS[text].encode()
    return b'{"model":"bench","cache":{"mode":"bypass"},"prompt":"%b"}' % (one * (PROMPT_BYTES // len(one)))


def head(headers: dict[str, str], length: int) -> bytes:
    """The headers of a call, not yet at their end."""
    own = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    line = f"POST /generate HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n"
    return f"{line}{own}content-length: {length}\r\n".encode()


if __name__ == "__main__":
    main()
