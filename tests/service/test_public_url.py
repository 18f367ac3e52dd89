"""Where people are told to find the service."""

import pytest

from service.assembly import public_url
from service.config import Config
from service.config.model import ServerSection, TelemetrySection


@pytest.mark.parametrize(
    ("host", "configured", "url"),
    [
        ("127.0.0.1", "", "http://127.0.0.1:4001"),
        ("0.0.0.0", "", "http://localhost:4001"),
        ("::", "", "http://localhost:4001"),
        ("::1", "", "http://[::1]:4001"),
        ("10.0.0.7", "https://llm.example.com/farthing/", "https://llm.example.com/farthing"),
    ],
)
def test_a_link_leads_to_what_the_config_says_else_to_where_it_listens(host: str, configured: str, url: str):
    config = Config(server=ServerSection(host=host, port=4000), telemetry=TelemetrySection(public_url=configured))
    assert public_url(config, port=4001) == url


def test_a_link_leads_to_the_configured_port_where_no_other_was_given():
    assert public_url(Config(server=ServerSection(host="127.0.0.1", port=4000))) == "http://127.0.0.1:4000"
