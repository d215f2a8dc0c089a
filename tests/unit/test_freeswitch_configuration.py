"""conf/freeswitch: read as FreeSWITCH reads it, and held against the defaults of callflows."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from callflows.config import Settings
from cli.switch_checks import NO_CARRIER

ROOT = Path(__file__).parents[2] / "conf" / "freeswitch"
FILES = sorted(ROOT.rglob("*.xml"))
# Set by the switch itself before it reads any file.
BUILT_IN = {"local_ip_v4"}
_INSTRUCTION = re.compile(r'<X-PRE-PROCESS cmd="(set|include)" data="([^"]*)"/>')


class Preprocessor:
    """switch_xml.c's line-wise preprocessor, as far as these files use it."""

    def __init__(self) -> None:
        self.variables = dict.fromkeys(BUILT_IN, "192.0.2.1")
        self.used: set[str] = set()

    def read(self, file: Path) -> str:
        """The file's text after preprocessing; fails for a variable that is not set by then."""
        lines = []
        for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
            text = self._expanded(line, f"{file}:{number}")
            if "<include>" in text or "</include>" in text or "<?" in text:
                continue
            instruction = _INSTRUCTION.search(text)
            if instruction is None:
                assert "PRE-PROCESS" not in text.upper(), f"{file}:{number}: not understood"
                lines.append(text)
            elif instruction[1] == "set":
                name, _, value = instruction[2].partition("=")
                # switch_core_set_variable turns every ${ into %{ (seen on 1.10.12).
                assert "${" not in value, f"{file}:{number}: {name} would hold %{{"
                self.variables[name] = value
            else:
                found = sorted(file.parent.glob(instruction[2]))
                assert found, f"{file}:{number}: includes nothing"
                lines += [self.read(each) for each in found]
        return "\n".join(lines)

    def _expanded(self, line: str, where: str) -> str:
        def value(match: re.Match[str]) -> str:
            assert match[1] in self.variables, f"{where}: {match[1]} is not defined"
            self.used.add(match[1])
            return self.variables[match[1]]

        return re.sub(r"\$\$\{([^}]*)\}", value, line)


@pytest.fixture(scope="module")
def preprocessor() -> Preprocessor:
    return Preprocessor()


@pytest.fixture(scope="module")
def switch(preprocessor) -> ElementTree.Element:
    """The whole configuration of a switch that serves nothing else."""
    return ElementTree.fromstring(preprocessor.read(ROOT / "callflows.xml"))


def settings_of(element: ElementTree.Element) -> dict[str, str]:
    return {each.get("name", ""): each.get("value", "") for each in element.iter("param")}


def actions(switch, context: str, extension: str) -> list[tuple[str, str]]:
    found = switch.find(f".//context[@name='{context}']/extension[@name='{extension}']")
    return [(each.get("application"), each.get("data", "")) for each in found.iter("action")]


def expression(switch, context: str, extension: str) -> str:
    found = switch.find(f".//context[@name='{context}']/extension[@name='{extension}']/condition")
    return found.get("expression")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_file_is_well_formed(file):
    """Also before preprocessing, so that editors and validators understand it."""
    ElementTree.parse(file)


def test_every_variable_is_defined_before_it_is_used_and_used(preprocessor, switch):
    """A misspelt name would silently be empty on the switch; an unused one would mislead."""
    shared = {"callflows_sounds_dir", "callflows_default_language", "callflows_missed_spool"}
    script = (ROOT / "scripts" / "callflows_apology.py").read_text("utf-8")
    assert all(f'"{name}"' in script for name in shared)
    unused = set(preprocessor.variables) - preprocessor.used - shared - BUILT_IN
    # mod_commands itself looks for this one.
    assert unused == {"disable_system_api_commands"}


def test_drop_in_files_need_nothing_of_the_packaged_configuration():
    """autoload_configs comes first in the packaged freeswitch.xml; dialplan and profiles follow."""
    preprocessor = Preprocessor()
    for name in (
        "autoload_configs/00_callflows.xml",
        "dialplan/00_callflows.xml",
        "sip_profiles/callflows.xml",
    ):
        ElementTree.fromstring(f"<document>{preprocessor.read(ROOT / name)}</document>")


def test_our_configurations_win_over_the_packaged_ones():
    """Of two with one name the switch takes the first: ours sorts before event_socket.conf.xml."""
    assert sorted(["event_socket.conf.xml", "acl.conf.xml", "00_callflows.xml"])[0].startswith("00")


def test_numbers_and_contexts_are_those_of_callflows(switch):
    """What the defaults of callflows.toml transfer to exists in the default dialplan."""
    settings = Settings()
    premium = (
        "9091234567",
        "70701234",
        settings.premium_owner_number,
        settings.premium_complaints_number,
    )
    for number in (*settings.services, *premium):
        assert re.search(expression(switch, "callflows", "callflows_service"), number)
    payment = expression(switch, settings.payment_context, "callflows_payment")
    assert re.search(payment, settings.payment_fixed)
    assert re.search(payment, settings.payment_mobile)
    assert re.search(
        expression(switch, settings.care_context, "callflows_care"), settings.care_number
    )


@pytest.mark.parametrize(
    "number",
    [
        "12000",
        "20000",
        "200",
        "+2000",
        "2000x",
        "99901",
        "909",
        "19091234567",
        "9091234567x",
        "7070",
    ],
)
def test_only_whole_numbers_are_served(switch, number):
    """An alternative in a variable must not loosen the anchors of the pattern."""
    assert not re.search(expression(switch, "callflows", "callflows_service"), number)
    assert not re.search(expression(switch, "payment", "callflows_payment"), number)


def test_the_event_socket_is_sync(switch):
    """No `async`: flows rely on answers that come when a command is done."""
    sockets = [
        each.get("data", "")
        for each in switch.iter("action")
        if each.get("application") == "socket"
    ]
    assert len(sockets) == 8
    for data in sockets:
        assert data.split()[1:] == ["full"]


def test_campaigns_find_their_gateway_and_their_extension(switch):
    """The defaults of dial_string, announce_context and announce_number are on the switch."""
    settings = Settings()
    gateways = {each.get("name"): settings_of(each) for each in switch.iter("gateway")}
    carrier = gateways[settings.dial_string.split("/")[2]]
    assert carrier["proxy"] == NO_CARRIER
    assert carrier["register"] == "false"
    context = switch.find(f".//context[@name='{settings.announce_context}']")
    assert [each.get("field") for each in context.iter("condition")] == [None]


def test_a_call_is_offered_again_before_the_apology(switch):
    """First the workers, then the takeover's order, twice more with pauses, then the apology."""
    service = actions(switch, "callflows", "callflows_service")
    assert service[-2][0] == "socket"
    assert service[-1] == ("transfer", "${destination_number} XML callflows_worker")
    takeover = [name for name, _ in actions(switch, "callflows_worker", "callflows_takeover")]
    assert takeover == ["socket", "sleep", "socket", "sleep", "socket", "transfer"]


@pytest.mark.parametrize(
    ("context", "extension"), [("payment", "callflows_payment"), ("care", "callflows_care")]
)
def test_a_failed_transfer_comes_back(switch, context, extension):
    """continue_on_fail, then bridge, then the workers (decision 0003)."""
    steps = actions(switch, context, extension)
    names = [name for name, _ in steps]
    assert ("set", "continue_on_fail=true") in steps
    assert ("set", "hangup_after_bridge=true") in steps
    assert names[names.index("bridge") :] == ["bridge", "socket", "transfer"]
    assert steps[names.index("bridge")][1].endswith("/$1")
    assert expression(switch, context, extension).startswith("^(")


def test_the_apology_does_without_mod_python3(switch):
    """The script's extension is conditional and goes on; the next one plays the sentence."""
    extensions = switch.findall(".//context[@name='callflows_apology']/extension")
    assert extensions[0].get("continue") == "true"
    assert "module_exists(mod_python3)" in extensions[0].find("condition").get("field")
    assert [each.get("application") for each in extensions[1].iter("action")] == [
        "answer",
        "playback",
        "playback",
        "hangup",
    ]


def test_a_number_that_nobody_asserts_is_removed(switch):
    """Only P-Asserted-Identity of trusted trunks, or From of those listed, stays."""
    found = switch.find(".//extension[@name='callflows_identity_asserted']")
    conditions = [(each.get("field"), each.get("expression")) for each in found.iter("condition")]
    assert conditions[0][0].startswith("${acl(${network_addr} 127.0.0.0/8")
    assert conditions[1] == ("${sip_P-Asserted-Identity}", r"^(\+?[0-9]{3,15})$")
    nobody = switch.find(".//extension[@name='callflows_identity_none']")
    assert {each.get("data") for each in nobody.iter("anti-action")} == {
        "caller_id_number=anonymous",
        "caller_id_name=anonymous",
        "ani=anonymous",
    }


def test_the_sip_profile_has_its_own_timer_and_a_closed_door(switch):
    """rtp-timer-name soft (measured: without it a silent caller hears nothing); only trunks."""
    profile = settings_of(switch.find(".//profile[@name='callflows']"))
    assert profile["rtp-timer-name"] == "soft"
    assert profile["context"] == "callflows"
    assert profile["apply-inbound-acl"]
    assert profile["disable-register"] == "true"


def test_the_control_socket_listens_on_loopback(switch):
    """Its password opens the switch: it is offered to nobody else unless a site says so."""
    control = settings_of(switch.find(".//configuration[@name='event_socket.conf']"))
    assert control["listen-ip"] == "127.0.0.1"
    assert control["apply-inbound-acl"] == "loopback.auto"


def test_call_records_are_kept_on_disk_when_nobody_takes_them(switch):
    """One retry (a record is sent by the call's own thread), then the spool; plain JSON."""
    records = settings_of(switch.find(".//configuration[@name='json_cdr.conf']"))
    assert records["url"].endswith("/cdr")
    assert records["err-log-dir"]
    assert records["log-http-and-disk"] == "false"
    assert records["encode-values"] == records["encode"] == "false"
    assert records["enable-cacert-check"] == records["enable-ssl-verifyhost"] == "true"
