"""What an installer says, and what it may know."""

import sys

import pytest

from benchmarks.peers.environments import NotInstalled, environ, last_words, run


def test_the_last_words_are_those_that_say_something():
    text = "WARNING: old\nError: request to https://binaries.example/all/1234.sha256 failed\n\n[notice] a new release\n"
    assert last_words(text) == "Error: request to … failed"
    assert last_words("") == ""


def test_who_fails_is_not_installed_and_says_why():
    with pytest.raises(NotInstalled) as failed:
        run([sys.executable, "-c", "raise SystemExit('no such wheel')"])
    assert failed.value.reason == "no such wheel"
    with pytest.raises(NotInstalled, match="no-such-command"):
        run(["no-such-command"])


def test_no_secret_of_ours_is_given_to_anybody(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ours")
    assert "sk-ours" not in run([sys.executable, "-c", "import os; print(dict(os.environ))"], more={"MORE": "1"})
    assert environ({"MORE": "1"})["MORE"] == "1"
