"""Where the config comes from, and that nothing but a config or its problems comes of any file."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.prices import load_book
from service.config import Config, ConfigInvalid, load_config, load_ledger
from service.config.catalog import Catalog
from service.config.decode import Decoding
from service.config.model import LISTS, TABLES, ModelSection
from service.config.problems import Problem
from service.config.rules import problems_of
from tests.service.config.conftest import PROVIDER, Reads, Refuses

EXAMPLE = Path(__file__).parents[3] / "deploy" / "farthing.example.toml"
PRIMARY = {"PRIMARY_OPENAI_MODEL": "m", "PRIMARY_OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}


def write(path: Path, port: int) -> str:
    path.write_text(f"[server]\nport = {port}\n", "utf-8")
    return str(path)


def test_the_argument_wins_over_the_variable_over_the_file_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    argument, variable = write(tmp_path / "a.toml", 1), write(tmp_path / "v.toml", 2)
    assert load_config(None, {}).server.port == 4000
    write(tmp_path / "farthing.toml", 3)
    assert load_config(None, {}).server.port == 3
    assert load_config(None, {"FARTHING_CONFIG": ""}).server.port == 3
    assert load_config(None, {"FARTHING_CONFIG": variable}).server.port == 2
    assert load_config(argument, {"FARTHING_CONFIG": variable}).server.port == 1


def test_a_file_wins_over_the_environments_sets(reads: Reads) -> None:
    assert [provider.name for provider in reads(PROVIDER, **PRIMARY).providers] == ["openai"]
    assert [provider.name for provider in reads("[server]\nport = 1", **PRIMARY).providers] == ["local"]


def test_a_file_that_names_nobody_to_ask_has_the_embedded_model(reads: Reads) -> None:
    config = reads('[[ceilings]]\nscope = "provider:local"\nwindow = "day"\nlimit_usd = "1"')
    assert [route.targets for route in config.routes] == [("local:smollm2",)]
    assert not config.is_from_environment


def test_the_command_line_overrides_the_server_and_is_held_to_the_same_rules(reads: Reads, tmp_path: Path) -> None:
    path = write(tmp_path / "a.toml", 1)
    Path(path).write_text(Path(path).read_text("utf-8") + 'auth = "off"\n', "utf-8")
    config = load_config(path, {}, overrides={"port": 2, "workers": 3})
    assert (config.server.port, config.server.workers) == (2, 3)
    with pytest.raises(ConfigInvalid) as invalid:
        load_config(path, {}, overrides={"host": "0.0.0.0"})
    assert [problem.place for problem in invalid.value.problems] == ["server.auth"]


def test_an_empty_file_has_the_documented_defaults(reads: Reads) -> None:
    documented = tomllib.loads(EXAMPLE.read_text("utf-8"))
    config = msgspec.to_builtins(reads(""))
    for table in TABLES:
        assert {key: config[table][key] for key in documented[table]} == documented[table]
        assert documented[table].keys() == config[table].keys()


def test_the_example_is_valid_and_shows_nearly_every_key(reads: Reads) -> None:
    text = EXAMPLE.read_text("utf-8")
    config = reads(text, OPENAI_API_KEY="sk-1", WEBHOOK_SECRET="whsec_c2VjcmV0")
    assert config.providers[0].api_key == "sk-1"
    documented = tomllib.loads(text)
    shown = {(key, name) for key in LISTS for table in documented[key] for name in table}
    hidden = {(key, name) for key, section in LISTS.items() for name in section.__struct_fields__} - shown
    rates = {name for _, name in hidden if name.endswith("_usd_per_mtok")}
    assert all(name.removesuffix("usd_per_mtok") in text for name in rates), "they are in a comment"
    others = {key for key in hidden if key[1] not in rates}
    assert others == {("providers", "model_path"), ("providers", "proxy"), ("models", "supports")}


def test_the_ledger_is_found_whatever_is_wrong_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_ledger(None, {"PRIMARY_OPENAI_MODEL": "m"}).ledger.url == "sqlite:farthing.db"
    path = tmp_path / "farthing.toml"
    elsewhere = f"""{PROVIDER}api_key = "$OPENAI_API_KEY"
        [server]
        port = 99999
        auth = "of"
        [[routes]]
        name = "chat"
        targets = ["nobody:m"]"""
    path.write_text(f'{elsewhere}\n[ledger]\nurl = "$LEDGER"\n', "utf-8")
    with pytest.raises(ConfigInvalid):
        load_config(None, {"LEDGER": "sqlite:other.db"})
    found = load_ledger(None, {"LEDGER": "sqlite:other.db"})
    assert found == Config(ledger=found.ledger)
    assert found.ledger.url == "sqlite:other.db"
    for text, environ, place in (
        (path.read_text("utf-8"), {}, "ledger.url"),
        (f'{elsewhere}\n[ledger]\nurll = "sqlite:x.db"', {}, "ledger.urll"),
        # It may be meant for [ledger]: then this is another ledger.
        (f'{elsewhere}\n[ledgr]\nurl = "sqlite:x.db"', {}, "ledgr"),
        ('ledger = "sqlite:x.db"', {}, "ledger"),
    ):
        path.write_text(text, "utf-8")
        with pytest.raises(ConfigInvalid) as invalid:
            load_ledger(None, environ)
        assert [problem.place for problem in invalid.value.problems] == [place]


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.toml", tmp_path):
        with pytest.raises(ConfigInvalid) as invalid:
            load_config(str(path), {})
        (problem,) = invalid.value.problems
        assert str(problem).startswith(f"{path}: cannot be read: ")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[server]\nport = \n", "is not TOML: Invalid value (at line 2, column 8)"),
        (b"[server]\n[server]\n", "is not TOML: Cannot declare ('server',) twice (at line 2, column 8)"),
        (b"a = '\xff'", "is not UTF-8: byte 5"),
        (b"a = " + b"[" * 50_000, "has something in it that is too long or too deep to read"),
        (b"a = " + b"9" * 5_000, "has something in it that is too long or too deep to read"),
    ],
)
def test_what_is_no_toml_is_one_line_and_says_where(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigInvalid) as invalid:
        load_config(str(path), {})
    assert [str(problem) for problem in invalid.value.problems] == [f"{path}: {said}"]


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbf[server]\r\nport = 7\r\n")
    assert load_config(str(path), {}).server.port == 7


def test_deep_tables_where_a_value_belongs_are_a_problem_like_any_other(refuses: Refuses) -> None:
    lines = refuses("[ledger]\nsynchronous" + ".a" * 3000 + " = 1")
    assert lines == ["ledger.synchronous: this cannot be; choose full, normal"]


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.datetimes()
    | st.times()
    | st.text()
    | st.sampled_from(["$A", "${A}", "openai", "local:x", "global", "day", "1", "https://h/v1", "sqlite:x", "a:b"])
)
values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=5), scalars, max_size=2)


def tables(section: type[Any]) -> st.SearchStrategy[dict[str, Any]]:
    keys = st.sampled_from(section.__struct_fields__) | st.text(max_size=8)
    return st.dictionaries(keys, values, max_size=8)


documents = st.fixed_dictionaries(
    {},
    optional={
        **{key: tables(section) | values for key, section in TABLES.items()},
        **{key: st.lists(tables(section) | values, max_size=3) | values for key, section in LISTS.items()},
    },
)


@given(document=documents, environ=st.dictionaries(st.just("A"), st.text()))
def test_any_document_is_a_config_of_the_right_types_or_its_problems(document: Any, environ: dict[str, str]) -> None:
    decoding = Decoding(environ)
    config = decoding.config(document)
    problems = [*decoding.problems, *problems_of(config)]
    for problem in problems:
        assert isinstance(problem, Problem)
        assert str(problem).isprintable()
        assert len(str(problem)) < 1000
    if not problems:
        assert msgspec.convert(msgspec.to_builtins(config), Config) == config


targets = st.sampled_from(["a:m", "b:gpt-4o", "b:gpt-oss:20b", "c:m", "a:", "m"])
amounts = st.sampled_from(["0", "0.15", "1e3", "-1", "x", "1e99"])
likely = st.fixed_dictionaries(
    {
        "providers": st.lists(
            st.fixed_dictionaries(
                {"name": st.sampled_from("abc"), "dialect": st.just("openai"), "base_url": st.just("http://h/v1/")}
            )
            | st.fixed_dictionaries({"name": st.sampled_from("ab"), "dialect": st.just("local")}),
            max_size=2,
        ),
        "models": st.lists(
            st.fixed_dictionaries(
                {"id": targets},
                optional={key: amounts for key in ModelSection.__struct_fields__ if key.endswith("_usd_per_mtok")},
            ),
            max_size=2,
        ),
        "routes": st.lists(
            st.fixed_dictionaries({"name": st.sampled_from("xyz"), "targets": st.lists(targets, max_size=2)}),
            max_size=2,
        ),
        "ceilings": st.lists(
            st.fixed_dictionaries(
                {
                    "scope": st.sampled_from(["global", "provider:a", "model:b:gpt-oss:20b", "model:a", "user:x", ""]),
                    "window": st.sampled_from(["day", "total"]),
                    "limit_usd": amounts,
                }
            ),
            max_size=2,
        ),
    }
)


@given(document=likely)
def test_a_config_without_problems_is_one_that_the_router_can_use(document: Any) -> None:
    decoding = Decoding({})
    config = decoding.config(document)
    if decoding.problems or list(problems_of(config)):
        return
    catalog = Catalog(config, load_book(), now_ms=0)
    assert len(catalog.providers) == len(config.providers)
    assert len({ceiling.id for ceiling in catalog.ceilings}) == len(config.ceilings)
    for route in config.routes:
        assert [target.id for target in catalog.resolve(route.name).targets] == list(route.targets)


def test_a_file_without_providers_is_told_of_a_wrong_variable_too(reads: Reads) -> None:
    with pytest.raises(ConfigInvalid) as invalid:
        reads("[server]\nport = 4001\n", ANTHROPIC_API_KEY="k", ANTHROPIC_MAX_CONCURRENCY="many")
    (problem,) = invalid.value.problems
    assert problem.place == "ANTHROPIC_MAX_CONCURRENCY"
