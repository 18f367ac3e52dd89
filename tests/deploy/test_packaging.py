"""The files that people deploy with: what checks such files finds nothing, and what they say of Farthing is so.

No container engine and no cluster runs here: an image is never built and a manifest never applied.
"""

import configparser
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose

from service.config.load import load_config

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
CONTAINERFILE: Final = DEPLOY / "Containerfile"
COMPOSE: Final = DEPLOY / "compose.yaml"
UNIT: Final = DEPLOY / "systemd/farthing.service"
MANIFESTS: Final = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
KUBERNETES: Final = kubernetes_validate.latest_version()
# What a stop takes beside the calls that it waits for: the last commit, the last spans.
CLOSING_S: Final = 5
SECRETS: Final = {
    "OPENAI_API_KEY": "sk-0",
    "FARTHING_PEPPER": "00" * 32,
    "FARTHING_LEDGER": "postgresql://farthing:0@postgres/farthing",
}

systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def resources(manifest: Path) -> list[dict[str, Any]]:
    return [resource for resource in yaml.safe_load_all(manifest.read_text()) if resource]


def compose() -> dict[str, Any]:
    return dict(PyCompose.from_yaml(COMPOSE.read_text()).to_dict())


def configs() -> dict[str, str]:
    """{where it stands: the config that it gives Farthing}."""
    found = {"compose": compose()["configs"]["farthing"]["content"].replace("$$", "$")}
    for manifest in MANIFESTS:
        [text] = [it["data"]["farthing.toml"] for it in resources(manifest) if it["kind"] == "ConfigMap"]
        found[manifest.stem] = text
    return found


def seconds(span: str) -> int:
    return int(span.removesuffix("s"))


def test_hadolint_finds_nothing_in_the_container_file():
    hadolint = Path(sys.executable).with_name("hadolint")
    checked = subprocess.run([hadolint, CONTAINERFILE], capture_output=True, text=True, check=False)

    assert (checked.returncode, checked.stdout) == (0, "")


@systemd
def test_systemd_finds_nothing_in_the_unit_but_that_it_is_not_installed(tmp_path: Path):
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/farthing/bin/farthing", "/bin/true"))

    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )

    assert (checked.returncode, checked.stderr) == (0, "")


@systemd
def test_the_unit_leaves_the_service_little_to_harm():
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", UNIT]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_every_resource_is_what_kubernetes_expects(manifest: Path):
    for resource in resources(manifest):
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)


@pytest.mark.parametrize("place", configs())
def test_the_config_in_it_is_taken(place: str, tmp_path: Path):
    path = tmp_path / "farthing.toml"
    path.write_text(configs()[place])

    config = load_config(str(path), SECRETS)

    assert (config.server.host, config.server.port) == ("0.0.0.0", 4000)


def test_whoever_stops_it_waits_longer_than_it_drains():
    drain_s = {place: tomllib.loads(text)["server"].get("drain_s", 30) for place, text in configs().items()}
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(UNIT.read_text())

    assert int(unit["Service"]["TimeoutStopSec"]) >= 30 + CLOSING_S
    assert seconds(compose()["services"]["farthing"]["stop_grace_period"]) >= drain_s["compose"] + CLOSING_S
    for manifest in MANIFESTS:
        [pod] = [it["spec"]["template"]["spec"] for it in resources(manifest) if "template" in it.get("spec", {})]
        [container] = pod["containers"]
        _, before_s = container["lifecycle"]["preStop"]["exec"]["command"]
        assert pod["terminationGracePeriodSeconds"] >= drain_s[manifest.stem] + int(before_s) + CLOSING_S


def test_each_names_the_port_the_user_and_the_paths_that_are_there():
    lines = CONTAINERFILE.read_text()
    for manifest in MANIFESTS:
        [pod] = [it["spec"]["template"]["spec"] for it in resources(manifest) if "template" in it.get("spec", {})]
        [container] = pod["containers"]
        [port] = container["ports"]
        assert f"EXPOSE {port['containerPort']}\n" in lines
        assert f"USER {pod['securityContext']['runAsUser']}\n" in lines
        assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
        assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert compose()["services"]["farthing"]["ports"][0]["target"] == 4000
