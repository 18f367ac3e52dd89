"""Who may be told of events, what they are called, and that nothing said of them tells an address."""

import sys

import pytest

from service.alerts.targets import targets_of
from service.config.alerts import secrets_of
from tests.service.config.conftest import Reads, Refuses

SECRET = "T0CANARY/B0CANARY"


def target(url: str, *more: str) -> str:
    return "\n".join(("[[alerts]]", f'url = "{url}"', *more)) + "\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (target("https:///hook"), "alerts[0].url: is no http:// or https:// address"),
        (target("https://h:99999/hook"), "alerts[0].url: is no http:// or https:// address"),
        (target("https://h/a b"), "alerts[0].url: is no http:// or https:// address"),
        (target("https://[h/hook"), "alerts[0].url: is no http:// or https:// address"),
        (target(f"https://h/{'x' * 2048}"), "alerts[0].url: is no http:// or https:// address"),
        (target("https://me:hunter2@h/hook"), "alerts[0].url: must not have a user or password in it"),
        (target("https://h/hook#x"), "alerts[0].url: must end with its path or query"),
        (target("http://h.example/hook"), "alerts[0].url: is not https: anybody on the way could read it"),
        (target("nonsense"), "alerts[0].url: is no address that Apprise knows"),
        (target("nonsense://x"), "alerts[0].url: is no address that Apprise knows"),
        (target("slack://x"), "alerts[0].url: is no address that Apprise knows"),
        (target("json://h", 'secret = "s"'), "alerts[0].secret: is for a webhook"),
        (target("https://h/hook", 'secret = ""'), "alerts[0].secret: is empty"),
        (target("https://h/hook", 'secret = "whsec_"'), "alerts[0].secret: is empty"),
        (target("https://h/hook", "events = []"), "alerts[0].events: must name at least one"),
        (target("https://h/hook", 'events = ["disk.low", "celing.*"]'), "alerts[0].events[1]: 'celing.*' is no event"),
        (target("https://h/hook", 'events = ["digest"]'), "alerts[0].events[0]: 'digest' is no event"),
        (target("https://h/hook", 'name = "a b"'), "alerts[0].name: 'a b' must be made of letters, digits"),
        (target("https://h/1") + target("https://h/2"), "alerts[1].name: 'h' is there twice; give each a name"),
        (target("https://h/hook", "burst = 0"), "alerts[0].burst: expected int >= 1"),
        ('[[alerts]]\nname = "x"', "alerts[0].url: is missing"),
        (target("$HOOK"), "alerts[0].url: the environment variable HOOK is not set"),
    ],
)
def test_each_wrong_target_is_named_and_its_address_is_not(refuses: Refuses, text: str, line: str) -> None:
    (said,) = refuses(text)
    assert said.startswith(line)
    assert "hunter2" not in said


def test_a_target_is_called_by_its_name_else_by_what_of_its_address_is_no_secret(reads: Reads) -> None:
    text = (
        target(f"https://hooks.example.com:8443/{SECRET}", 'secret = "$S"', 'events = ["ceiling.*"]')
        + target("http://127.0.0.1:9/hook")
        + target("http://[::1]:9/hook", 'name = "six"')
        + target("http://inside.example/hook?token=x", "plain_http = true")
        + target("$JSON", "digest_s = 5", "burst = 2")
    )
    made = targets_of(reads(text, S="whsec_c2VjcmV0", JSON=f"json://me:hunter2@{SECRET}").alerts)
    assert [(it.name, it.kind, it.shown) for it in made] == [
        ("hooks.example.com", "webhook", "https://hooks.example.com:8443/…"),
        ("127.0.0.1", "webhook", "http://127.0.0.1:9/…"),
        ("six", "webhook", "http://[::1]:9/…"),
        ("inside.example", "webhook", "http://inside.example/…"),
        ("json", "apprise", "json://…"),
    ]
    assert (made[0].key, made[0].events, made[1].key, made[1].events) == (b"secret", ("ceiling.*",), None, ("*",))
    assert (made[4].digest_s, made[4].burst) == (5.0, 2)


def test_what_logs_must_not_show_is_the_address_and_what_errors_quote_of_it(reads: Reads) -> None:
    config = reads(target(f"https://h/{SECRET}?x=1", 'secret = "s3cret!"') + target(f"json://{SECRET}"))
    assert list(secrets_of(config.alerts[0])) == ["s3cret!", f"https://h/{SECRET}?x=1", f"{SECRET}?x=1"]
    assert list(secrets_of(config.alerts[1])) == [f"json://{SECRET}", SECRET]
    short = reads(target("https://h/alerts")).alerts[0]
    assert list(secrets_of(short)) == ["https://h/alerts"], "or the word would be hidden everywhere"


def test_without_the_extra_other_addresses_name_it(refuses: Refuses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    (said,) = refuses(target("slack://a/b/c"))
    assert 'install the extra: pip install "farthing[alerts]"' in said
    assert refuses(target("https://h/hook")) == []
