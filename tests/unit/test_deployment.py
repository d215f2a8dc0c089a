"""systemd units, the compose file and the image: what they start exists, and starts so."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from callflows.config import PREFIX, Settings
from cli.main import command
from cli.metrics import BLOCKS

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "conf" / "systemd"
COMPOSE = ROOT / "conf" / "compose.yaml"
SERVICES = sorted(UNITS.glob("*.service"))


class Unit(configparser.RawConfigParser):
    """A unit file; keys keep their case, the last of several counts."""

    def __init__(self, path):
        super().__init__(strict=False, interpolation=None, delimiters=("=",))
        self.read(path)

    def optionxform(self, optionstr):
        return optionstr


def accepted(words):
    """Whether the command line takes these words (it is not run)."""
    return CliRunner().invoke(command, [*words, "--help"], prog_name="callflows").exit_code == 0


def test_systemd_accepts_the_units(tmp_path):
    """`systemd-analyze verify` finds nothing wrong with the target and everything it wants."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: nothing has verified conf/systemd")
    for file in [*SERVICES, UNITS / "callflows.target"]:
        # The program is not where the units expect it on this machine.
        text = file.read_text().replace("/opt/callflows/bin/callflows", "/bin/true")
        (tmp_path / file.name).write_text(text)
    wanted = re.findall(r"callflows[\w@-]*\.service", (UNITS / "callflows.target").read_text())
    for name in wanted:
        template = re.sub(r"@\d+", "@", name)
        shutil.copy(tmp_path / template, tmp_path / name) if template != name else None
        assert (tmp_path / name).is_file()
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "callflows.target", *wanted],
        cwd=tmp_path,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    # Whatever this machine's own units are told is not about ours.
    about_ours = [line for line in done.stderr.splitlines() if "callflows" in line]
    assert not about_ours
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", SERVICES, ids=lambda file: file.name)
def test_a_unit_runs_what_there_is_with_least_rights(file):
    """The words are ones that `callflows` takes; the process runs as its own user, may write its
    state folder only, and is started again for ever."""
    service = Unit(file)["Service"]
    words = re.search(r"bin/callflows ([\w -]+)", service["ExecStart"])
    assert words is not None
    assert accepted(words[1].split())
    assert service["User"] == "callflows"
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "yes"
    assert service["CapabilityBoundingSet"] == ""
    assert service["Restart"] == "always"
    assert Unit(file)["Unit"]["StartLimitIntervalSec"] == "0"


def test_every_part_has_a_unit():
    """What `callflows run` starts, systemd starts too."""
    from cli.run import PARTS

    started = " ".join(Unit(file)["Service"]["ExecStart"] for file in SERVICES)
    assert {part for part in PARTS if f"--only {part}" in started} == set(PARTS)


def test_a_worker_may_finish_its_calls():
    """systemd waits longer than the calls may take, tells only the parent, and can reload it."""
    service = Unit(UNITS / "callflows-worker@.service")["Service"]
    drain_s = Settings.model_fields["drain_s"].default
    assert int(service["TimeoutStopSec"]) > drain_s + 10
    assert service["KillMode"] == "mixed"
    assert service["Type"] == "notify"
    assert "-HUP" in service["ExecReload"]


def test_the_environment_file_has_keys_that_exist():
    """No key of callflows.env is unknown to the configuration."""
    names = re.findall(r"^(\w+)=", (UNITS / "callflows.env").read_text(), re.MULTILINE)
    keys = {name.removeprefix(PREFIX).lower() for name in names if name.startswith(PREFIX)}
    assert keys
    assert keys <= set(Settings.model_fields)


@pytest.fixture(scope="module")
def compose():
    """The compose file, read."""
    return yaml.safe_load(COMPOSE.read_text())


def test_compose_starts_all_parts(compose):
    """Two workers on ports of their own, relay, consumers, pages, PostgreSQL, Redis; the dialer
    only where it is asked for, since it needs a switch."""
    services = compose["services"]
    assert set(services) == {
        "postgres", "redis", "sounds", "worker1", "worker2", "relay", "jobs", "web",
        "dialer",
    }  # fmt: skip
    assert [name for name in services if "profiles" in services[name]] == ["dialer"]
    for name in set(services) - {"postgres", "redis"}:
        assert accepted(services[name]["command"]), name
    ports = [services[name]["ports"][0] for name in ("worker1", "worker2", "web")]
    for name, port in zip(("worker1", "worker2", "web"), ports, strict=True):
        listen = "WEB_LISTEN" if name == "web" else "WORKER_LISTEN"
        inside = services[name]["environment"][f"{PREFIX}{listen}"]
        assert port.endswith(inside.removeprefix("0.0.0.0"))
        # Reached from this machine only: the event socket asks nobody for a password.
        assert port.startswith("127.0.0.1:")
        if name != "web":
            test = services[name]["healthcheck"]["test"]
            assert test[-1] == port.rpartition(":")[2]
            assert accepted(test[2:])
    assert len(set(ports)) == 3


def test_compose_refers_only_to_what_it_has(compose):
    """Services waited for, volumes and configuration keys exist; what is waited for to be healthy
    says when it is."""
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in services, (name, other)
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other]
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or source.startswith("$"), volume
        for key in service.get("environment", {}):
            if key.startswith(PREFIX):
                assert key.removeprefix(PREFIX).lower() in Settings.model_fields, key


def test_compose_passes_what_each_part_needs(compose):
    """Workers and dialers know the switches, the relay their spools; nobody else has the password
    that rules the switches. Metrics are shown by every part where they are asked for."""
    services = compose["services"]
    ours = {name for name in services if services[name].get("image") == "callflows"}

    def have(key):
        return {name for name in ours if PREFIX + key in services[name]["environment"]}

    assert have("CONTROL_ADDRESSES") == have("CONTROL_PASSWORD") == {"worker1", "worker2", "dialer"}
    assert have("MISSED_SPOOL") == have("CDR_SPOOL_DIR") == {"relay"}
    values = (ROOT / "conf/freeswitch/callflows/vars.xml").read_text()
    relay = services["relay"]
    for key, name in (("MISSED_SPOOL", "missed"), ("CDR_SPOOL_DIR", "cdr")):
        folder = relay["environment"][PREFIX + key].removeprefix("${SPOOL_DIR:+").rstrip("}")
        assert f"callflows_{name}_spool={folder}" in values
        mounted = [Path(volume.rpartition(":")[2]) for volume in relay["volumes"]]
        assert any(Path(folder).is_relative_to(each) for each in mounted)
    assert have("METRICS_LISTEN") == ours
    described = re.findall(r"(\w+):(9\d\d\d)\b", COMPOSE.read_text().split("name:")[0])
    parts = {part.rstrip("12"): int(port) - 9464 for part, port in described if part != "0"}
    assert parts == {part: block.start for part, block in BLOCKS.items()}


def test_compose_waits_for_running_calls(compose):
    """A worker has more time to stop than its calls have to end."""
    minutes = int(compose["services"]["worker1"]["stop_grace_period"].rstrip("m"))
    assert minutes * 60 > Settings.model_fields["drain_s"].default + 10


def test_the_image_is_made_of_what_there_is():
    """Every file and folder that the Dockerfile copies exists, and all our packages are copied."""
    text = (ROOT / "conf" / "Dockerfile").read_text()
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert all((ROOT / source).exists() for source in copied)
    packages = re.findall(r"^    (\w+)\*$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    assert packages
    assert set(packages) <= set(copied)


def test_calendars_are_where_campaigns_look_for_them():
    """They are no part of the package: image and units have a copy, and are told where."""
    variable = f"{PREFIX}CALENDARS_DIR="
    image = (ROOT / "conf" / "Dockerfile").read_text()
    folder = re.search(r"^COPY conf/calendars (\S+)$", image, re.MULTILINE)
    assert folder is not None
    assert f"{variable}{folder[1]}\n" in image
    assert f"{variable}/etc/callflows/calendars\n" in (UNITS / "callflows.env").read_text()
    assert "# cp -r conf/calendars /etc/callflows/\n" in (UNITS / "README.md").read_text()


def test_the_relay_may_take_the_spool_in():
    """The spool of conf/freeswitch and of docs/freeswitch.md, in spite of ProtectSystem=strict."""
    allowed = Unit(UNITS / "callflows-relay.service")["Service"]["ReadWritePaths"].removeprefix("-")
    values = (ROOT / "conf/freeswitch/callflows/vars.xml").read_text()
    spool = re.search(r'callflows_cdr_spool=([^"]+)"', values)
    assert spool is not None
    assert Path(spool[1]).is_relative_to(allowed)


def test_alerts_name_units_that_the_target_starts():
    """What an alert tells somebody to start at night is a unit that is there."""
    rules = (ROOT / "conf/prometheus/alerts.yml").read_text()
    started = (UNITS / "callflows.target").read_text()
    for unit in re.findall(r"systemctl \w+ ([\w@-]+)", rules):
        assert unit in started, unit
