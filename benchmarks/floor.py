"""The floor: granian, Litestar and one upstream call by aiohttp, and nothing else. `python -m benchmarks.floor URL`.

What Farthing does is on top of this, so its rate beside Farthing's says how fast this machine is today.
"""

import sys

import aiohttp
import uvloop
from litestar import Litestar, Request, Response, post
from litestar.datastructures import State

from service.server import SocketServer, listen


async def main(upstream: str) -> None:
    """Serve until ended; says where on standard error."""
    async with aiohttp.ClientSession() as session:

        @post("/v1/chat/completions", status_code=200)
        async def forward(request: Request[None, None, State]) -> Response[bytes]:
            async with session.post(upstream, data=await request.body()) as answer:
                return Response(await answer.read(), media_type="application/json")

        listening = listen("127.0.0.1", 0)
        sys.stderr.write(f"http://127.0.0.1:{listening.getsockname()[1]} \n")
        sys.stderr.flush()
        await SocketServer(Litestar([forward], openapi_config=None), listening, max_connections=10_000).serve()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
