"""What the application is made of."""

from service.app import create_app
from tests.service.http.scripted import Edge, Limits


def test_no_plugin_is_loaded_for_what_happens_to_be_installed():
    plugins = {type(plugin).__module__ for plugin in create_app(Edge(Limits()).parts).plugins}
    assert not [name for name in plugins if "pydantic" in name or "attrs" in name], plugins
