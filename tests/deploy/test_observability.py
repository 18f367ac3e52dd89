"""The Grafana dashboard and the Prometheus rules: each name in them is one that the service has, and they mean it."""

import importlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from telemetry.metrics.instruments import INSTRUMENTS, prometheus_label

ROOT: Final = Path(__file__).parents[2]
DASHBOARD: Final = ROOT / "deploy/grafana/farthing.json"
RULES: Final = ROOT / "deploy/prometheus/rules.yml"
RULES_TEST: Final = Path(__file__).with_name("rules_test.yml")
PARTS: Final = {"histogram": ("_bucket", "_sum", "_count")}
KEYWORDS: Final = frozenset({"and", "or", "unless", "bool", "on", "ignoring", "group_left", "group_right", "offset"})
# Prometheus gives every series the first two; the last is a histogram's.
GIVEN_LABELS: Final = frozenset({"job", "instance", "le"})
GROUPING: Final = re.compile(r"\b(?:by|without)\s*\(([^)]*)\)")

# {sample: the labels that it has}.
EXPOSED: Final = {
    instrument.prometheus_name + part: frozenset(map(prometheus_label, instrument.labels))
    for instrument in INSTRUMENTS
    for part in PARTS.get(instrument.kind, ("",))
}

promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def dashboard_expressions() -> list[str]:
    """As Prometheus gets them from Grafana."""
    return [
        target["expr"].replace("$__rate_interval", "5m").replace("$deployment", ".*")
        for panel in panels()
        for target in panel["targets"]
    ]


def names_in(expression: str) -> tuple[set[str], set[str]]:
    """(the metrics, the labels) that an expression names."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    labels = {label for group in GROUPING.findall(bare) for label in re.findall(r"\w+", group)}
    labels |= set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*""', bare))
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", GROUPING.sub("", bare))
    words = re.findall(r"(?<![\w.])[a-zA-Z_:][\w:]*\b(?!\s*\()", bare)
    return {word for word in words if word not in KEYWORDS}, labels


def recorded() -> dict[str, frozenset[str]]:
    """{recorded name: the labels that it has}."""
    found: dict[str, frozenset[str]] = {}
    for rule in rules():
        if "record" in rule:
            groups = GROUPING.findall(rule["expr"])
            labels = {label for group in groups for label in re.findall(r"\w+", group)} | rule.get("labels", {}).keys()
            found[rule["record"]] = frozenset(labels)
    return found


@pytest.mark.parametrize("expression", [rule["expr"] for rule in rules()] + dashboard_expressions())
def test_only_what_the_service_tells_is_asked_for(expression: str) -> None:
    known = EXPOSED | recorded()
    metrics, labels = names_in(expression)
    assert metrics
    assert metrics <= known.keys()
    assert labels <= frozenset().union(*(known[name] for name in metrics)) | GIVEN_LABELS


@pytest.mark.parametrize(
    ("expression", "metrics", "labels"),
    [
        ('sum by (a, b) (rate(x_total{c!~"d|e"}[5m])) * 3600', {"x_total"}, {"a", "b", "c"}),
        ("histogram_quantile(0.99, sum by (le) (rate(y_bucket[1h]))) > 0.25 and z > 1", {"y_bucket", "z"}, {"le"}),
        ('farthing:a:ratio{w=~"day"} > 0.9', {"farthing:a:ratio"}, {"w"}),
    ],
)
def test_names_are_read_out_of_expressions(expression: str, metrics: set[str], labels: set[str]) -> None:
    assert names_in(expression) == (metrics, labels)


def test_labels_that_texts_speak_of_are_there() -> None:
    known = EXPOSED | recorded()
    for rule in rules():
        told = " ".join(rule.get("annotations", {}).values())
        names, _ = names_in(rule["expr"])
        spoken_of = set(re.findall(r"\$labels\.(\w+)", told))
        assert spoken_of <= frozenset().union(*(known[name] for name in names)), rule


def test_every_figure_is_on_the_dashboard() -> None:
    """But for those that only make sense beside another one, or on a page of one's own."""
    asked = set().union(*(names_in(expression)[0] for expression in dashboard_expressions()))
    asked |= set().union(*(names_in(rule["expr"])[0] for rule in rules() if rule.get("record") in asked))
    shown = {it.name for it in INSTRUMENTS if asked & {it.prometheus_name + part for part in PARTS.get(it.kind, ("",))}}
    assert {it.name for it in INSTRUMENTS} - shown == set()


def test_panels_say_what_they_show_and_do_not_overlap() -> None:
    seen: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert panel["title"]
        assert place["x"] + place["w"] <= 24
        assert not cells & seen
        seen |= cells
        assert panel["datasource"]["uid"] == "${datasource}"


def test_grafanas_own_types_have_a_place_for_all_of_it() -> None:
    """Read into them and written again it is what it was. They are Grafana's 10.1: it imports into that and later."""
    types = pytest.importorskip("grafana_foundation_sdk.models.dashboard", reason="grafana-foundation-sdk is missing")
    importlib.import_module("grafana_foundation_sdk.cog.plugins").register_default_plugins()
    encoder = importlib.import_module("grafana_foundation_sdk.cog.encoder")
    dashboard = json.loads(DASHBOARD.read_text())
    again = json.loads(encoder.JSONEncoder().encode(types.Dashboard.from_json(dashboard)))
    # What a variable's own editor shows, which came later.
    del dashboard["templating"]["list"][1]["definition"]
    assert lost(dashboard, again) == []


def lost(before: Any, after: Any, path: str = "$") -> list[str]:
    """Where `after` lacks what `before` says. It may say more."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [found for name, value in before.items() for found in lost(value, after.get(name), f"{path}.{name}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [found for number, pair in pairs for found in lost(*pair, f"{path}[{number}]")]
    return [] if before == after else [path]


def run(*command: str | Path) -> None:
    """To its good end."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@promtool
def test_promtool_finds_nothing_wrong(tmp_path: Path) -> None:
    run("promtool", "check", "rules", RULES)
    asked = [{"record": f"dashboard:{n}", "expr": text} for n, text in enumerate(dashboard_expressions())]
    (tmp_path / "dashboard.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": asked}]}))
    run("promtool", "check", "rules", tmp_path / "dashboard.yml")


@promtool
def test_rules_mean_what_they_say(tmp_path: Path) -> None:
    test = tmp_path / "rules_test.yml"
    test.write_text(RULES_TEST.read_text().replace("{{rules}}", str(RULES)))
    run("promtool", "test", "rules", test)
