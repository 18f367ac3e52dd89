"""Arize Phoenix for this machine alone: `make viewer`, or `.viewer/bin/python deploy/viewer/serve.py [--port N]`.

It sends nothing anywhere, keeps what it takes in its folder, and takes spans over HTTP only: its gRPC port would listen
on every address, whatever host it is told.
"""

import argparse
import os
import sys
from pathlib import Path

HOST = "127.0.0.1"
FOLDER = Path(__file__).parents[2] / ".viewer" / "data"


async def _leave_closed(*_: object) -> None:
    """What opening and closing the gRPC port does here: nothing."""


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(description="Show traces.")
    parser.add_argument("--port", type=int, default=6006)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    # Before it is imported, for it reads them then.
    os.environ |= {
        "PHOENIX_HOST": HOST,
        "PHOENIX_PORT": str(asked.port),
        "PHOENIX_WORKING_DIR": str(asked.folder),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
        "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
    }
    url = f"http://{HOST}:{asked.port}"
    sys.stderr.write(
        f"Tell it of calls:  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT={url}/v1/traces make serve\n"
        f'Link to it from the dashboard:  [telemetry] trace_url = "{url}/redirects/traces/{{trace_id}}"\n'
    )
    from phoenix.server import grpc_server
    from phoenix.server.main import main as serve

    grpc_server.GrpcServer.__aenter__ = _leave_closed
    grpc_server.GrpcServer.__aexit__ = _leave_closed
    sys.argv = ["phoenix", "serve"]
    serve()


if __name__ == "__main__":
    main()
