"""Where a cache server is, and that nobody is shown how to get in."""

import pytest

from ledger.valkey.address import NotACacheServer, cache_server_of


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("valkey://cache.example", "valkey://cache.example:6379/0"),
        ("redis://me:hunter2@cache.example:7000/3", "redis://cache.example:7000/3"),
        ("rediss://:hunter2@[::1]/", "rediss://[::1]:6379/0"),
        ("valkeys://h/00", "valkeys://h:6379/0"),
        ("unix://:hunter2@/run/valkey/v%20k.sock", "unix:///run/valkey/v k.sock"),
    ],
)
def test_an_address_is_shown_without_its_secret(url, shown):
    address = cache_server_of(url)
    assert (address.shown, repr(address)) == (shown, shown)
    assert address.password == ("hunter2" if "hunter2" in url else None)
    assert address.tls is url.startswith(("rediss", "valkeys"))


def test_a_password_is_read_as_it_was_before_it_was_escaped():
    address = cache_server_of("valkey://me%40x:p%3A%2Fw@h")
    assert (address.username, address.password) == ("me@x", "p:/w")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("hunter2", "must begin with valkey://"),
        ("http://hunter2@h", "must begin with valkey://"),
        ("redis://:hunter2@", "must name a host"),
        ("redis://:hunter2@h:port", "must be an address"),
        ("redis://:hunter2@h/name", "the number of a database"),
        ("redis://:hunter2@h/9999999999", "the number of a database"),
        ("redis://:hunter2@h/0?socket_timeout=9", "takes nothing after the database"),
        ("unix://:hunter2@", "must name a socket"),
        ("unix://:hunter2@h/s", "must name a socket"),
    ],
)
def test_what_is_none_is_refused_without_being_repeated(url, words):
    with pytest.raises(NotACacheServer, match=words) as refused:
        cache_server_of(url)
    assert "hunter2" not in str(refused.value)
