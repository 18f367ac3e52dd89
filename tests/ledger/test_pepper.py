"""One pepper for all who share a ledger, its owner's alone, and never in the ledger."""

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from ledger.errors import NotALedger
from ledger.pepper import FILE, open_pepper


def url(folder):
    return f"sqlite:{folder / 'farthing.db'}"


def test_of_many_who_make_it_at_once_one_wins_and_all_have_the_same(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: open_pepper(url(tmp_path), None).digest(b"x"), range(64)))
    assert len(set(made)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert open_pepper(url(tmp_path), None).digest(b"x") == made[0]


def test_a_given_one_wins_and_makes_no_file(tmp_path):
    given = open_pepper(url(tmp_path), "one that was given, long enough")
    assert list(tmp_path.iterdir()) == []
    other = open_pepper(url(tmp_path), None)
    assert given.digest(b"x") != other.digest(b"x")
    assert given.pepper_id != other.pepper_id
    assert "given" not in repr(given)


def test_one_that_is_too_short_is_refused(tmp_path):
    with pytest.raises(NotALedger, match="fewer than 22"):
        open_pepper(url(tmp_path), "short")
    (tmp_path / FILE).write_text("\n")
    with pytest.raises(NotALedger, match="too short"):
        open_pepper(url(tmp_path), None)


def test_one_that_cannot_be_read_is_said(tmp_path):
    (tmp_path / FILE).mkdir()
    with pytest.raises(NotALedger, match="cannot be used"):
        open_pepper(url(tmp_path), None)
