"""`farthing import litellm`: 26 shapes of config that people have, each with what becomes of it, line by line.

`litellm/NAME.yaml` is read, `litellm/NAME.toml` is what is written. To see a change as a difference in git:
`for f in *.yaml; do farthing import litellm $f > ${f%.yaml}.toml; done`.
"""

import copy
import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.commands import main
from service.config import load_config
from service.litellm import Source, read_source, translate
from service.litellm.translation import shown

FOLDER = Path(__file__).parent / "litellm"
FILES = sorted(FOLDER.glob("*.yaml"))
CHANGED = "changed-by-the-test"


def run(path):
    return CliRunner().invoke(main, ["import", "litellm", str(path)])


def read(path, text):
    path.write_text(text, "utf-8")
    return translate(read_source(path)).text


def settings(value, place=()):
    """Every place of a config that has a value of its own, by this test's own reckoning."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from settings(inner, (*place, name))
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for index, inner in enumerate(value):
            yield from settings(inner, (*place, index))
    else:
        yield place


def changed(document, place):
    """What is written for the same config with another value there, or with others."""
    for other in (not_text, lambda _: CHANGED):
        config = copy.deepcopy(document)
        inner = config
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = other(inner[place[-1]])
        yield translate(Source(config)).text


def not_text(value):
    """Another of its kind, if it is a truth or a number."""
    return not value if isinstance(value, bool) else -value - 1 if isinstance(value, int | float) else None


def test_there_are_26_shapes():
    assert len(FILES) == 26


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shape_becomes_what_is_written_beside_it_and_loads(path, tmp_path):
    result = run(path)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == path.with_suffix(".toml").read_text("utf-8")
    file = tmp_path / "farthing.toml"
    file.write_text(result.stdout, "utf-8")
    environ = dict.fromkeys(re.findall(r'"\$(\w+)"', result.stdout), "http://set-by-the-test")
    config = load_config(str(file), environ)
    assert {route.name for route in config.routes} == {it["name"] for it in tomllib.loads(result.stdout)["routes"]}
    assert "hunter2" not in result.output


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_setting_of_a_shape_is_dropped_silently(path):
    document = read_source(path).document
    text = translate(Source(copy.deepcopy(document))).text
    told = {line.removeprefix("#     ").partition(" = ")[0] for line in text.splitlines() if line.startswith("#     ")}
    for place in settings(document):
        # What is no comment has its place in the config: with another value there, another config would come of it.
        if shown(place) not in told:
            assert any(other != text for other in changed(document, place)), shown(place)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file"),
        ("model_list: [", "line 1: is no YAML"),
        ("- a list", "is no config"),
        ("", "is no config"),
        ("a: 1\nb: 2\na: 3\n", "line 3: is no YAML: 'a' is there twice"),
        ("a: !!python/object/apply:os.system ['true']", "is no YAML"),
        ("\x00", "is no YAML"),
        ("a: " + "[" * 400 + "]" * 400, "deep"),
        ("a: " + "[" * 100 + "]" * 100, "nested more than 64 deep"),
        ("x: " + "y" * (1 << 20), "is longer than 1048576 bytes"),
        ("include: [nowhere.yaml]\nmodel_list: []", "nowhere.yaml: No such file"),
        ("include: [{a: 1}]", "include must list files"),
        (
            "a0: &a0 [1, 2]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)),
            "has more than 50000 settings",
        ),
        (
            "a0: &a0 {b: 1, c: 2}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40)),
            "more than 50000 keys",
        ),
    ],
    ids=range(14),
)
def test_what_cannot_be_read_is_one_line_and_exit_2(tmp_path, text, said):
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text, "utf-8")
    result = run(path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert said in result.stderr


def test_nothing_in_a_config_breaks_out_of_its_comment_or_string(tmp_path):
    evil = '"\\u2028\\n[server]\\nport = 1\\n\\u007f\\""'
    text = read(
        tmp_path / "config.yaml",
        f"{evil}: {evil}\nmodel_list:\n- model_name: m\n  litellm_params: {{model: openai/m, api_key: {evil}}}\n"
        f"- model_name: n\n  litellm_params: {{model: openai/n, {evil}: {evil}}}\n"
        f"- model_name: {evil}\n  litellm_params: {{model: openai/o}}\n",
    )
    assert "server" not in tomllib.loads(text)
    assert [route["name"] for route in tomllib.loads(text)["routes"]] == ["n"]


def test_strange_shapes_are_told_and_not_fallen_over(tmp_path):
    text = read(
        tmp_path / "config.yaml",
        "model_list: [1, {model_name: a}, {model_name: [b], litellm_params: {model: openai/b}},"
        " {model_name: c, litellm_params: {model: openai/c, api_base: [x]}},"
        " {model_name: d, litellm_params: {model: openai/d d}},"
        " {model_name: e, litellm_params: {model: openai/e, api_base: 'https://u:hunter2@host/v1'}},"
        " {model_name: f, litellm_params: {model: openai/f, api_base: 'https://${HOST}/v1', timeout: soon}}]\n"
        "router_settings: [1]\nlitellm_settings: {cache: maybe, max_budget: lots, fallbacks: {a: b}}\n"
        "credential_list: {a: 1}\ngeneral_settings: null\n",
    )
    assert tomllib.loads(text) == {"cache": {"enabled": False, "coalesce": False}}
    assert "hunter2" not in text
    for told in ("model_list[0] = 1", 'max_budget = "lots"', 'fallbacks.a = "b"', "general_settings = null"):
        assert told in text
