"""The embedded model: llama.cpp's own server, in a child process that lives and dies with this one.

`open_local_model` finds the model's file, starts the child (`child.py`) and keeps it running. The child listens on a
free loopback port and speaks the OpenAI format there; `upstream.py` points that dialect at it. What the two processes
say to each other is in `handover.py`: settings go down the child's standard input, whose end is its signal to leave,
and the address comes back up its standard output.
"""

from router.providers.local.model import LocalModel, open_local_model
from router.providers.local.model_file import LocalModelUnavailable, find_model

__all__ = ["LocalModel", "LocalModelUnavailable", "find_model", "open_local_model"]
