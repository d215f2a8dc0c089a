"""`callflows doctor` on a switch: what is well passes, and each fault is named with a remedy."""

from __future__ import annotations

import pytest

from callflows.config import Settings
from cli.switch_api import SwitchAway
from cli.switch_checks import SwitchChecks
from sounds import load_catalogue

NOW = 1_795_290_000.4
SOUNDS = "/srv/callflows/sounds"
SERVICE = """
<context name="callflows">
  <extension name="identity" continue="true"><condition field="destination_number" expression=".*">
    <action application="set" data="a=b"/></condition></extension>
  <extension name="other"><condition field="destination_number" expression="^(3000)$">
    <action application="hangup"/></condition></extension>
  <extension name="service"><condition field="destination_number" expression="^(?:2000)$">
    <action application="socket" data="10.0.0.1:8084|10.0.0.2:8084 full"/></condition></extension>
  <extension name="unknown"><condition><action application="hangup"/></condition></extension>
</context>"""
PAYMENT = """
<context name="payment"><extension name="p">
  <condition field="destination_number" expression="^(2000|9990)$">
    <action application="bridge" data="sofia/gateway/callflows_payment/$1"/>
    <action application="socket" data="10.0.0.1:8084 full"/></condition></extension></context>"""
CARE = PAYMENT.replace("payment", "care").replace("2000|9990", "2020")
ANNOUNCE = """
<context name="callflows_announce"><extension name="a"><condition>
    <action application="socket" data="10.0.0.1:8084 full"/></condition></extension></context>"""
SOFIA = """
<configuration name="sofia.conf"><profiles>
  <profile name="internal"><settings><param name="context" value="public"/></settings></profile>
  <profile name="callflows"><settings><param name="context" value="callflows"/>
    <param name="sip-ip" value="10.0.0.5"/><param name="sip-port" value="5070"/>
    <param name="rtp-timer-name" value="soft"/></settings></profile></profiles></configuration>"""
RECORDS = """
<configuration name="json_cdr.conf"><settings><param name="url" value="http://h/cdr"/>
  <param name="cred" value="callflows:own"/></settings></configuration>"""
HEALTHY = {
    "version": "FreeSWITCH Version 1.10.12-release~64bit ( 64bit)",
    "strepoch": "1795290000",
    "status": "0 session(s) per Sec out of max 250, peak 1\n2000 session(s) max",
    "global_getvar callflows_sounds_dir": SOUNDS,
    "global_getvar callflows_payment_route": "sofia/gateway/callflows_payment/$1",
    "global_getvar callflows_care_route": "sofia/gateway/callflows_care/$1",
    "xml_locate dialplan context name callflows": SERVICE,
    "xml_locate dialplan context name payment": PAYMENT,
    "xml_locate dialplan context name care": CARE,
    "xml_locate dialplan context name callflows_announce": ANNOUNCE,
    "global_getvar callflows_carrier_host": "10.0.0.9",
    "sofia status gateway carrier": "State  NOREG\nStatus \tUP\n",
    "xml_locate configuration configuration name sofia.conf": SOFIA,
    "xml_locate configuration configuration name json_cdr.conf": RECORDS,
    "sofia status profile callflows": "Name   callflows",
    "sofia status gateway callflows_payment": "State  NOREG\nStatus \tUP\n",
    "sofia status gateway callflows_care": "State  NOREG\nStatus \tUP (ping)\n",
    "python callflows_apology check": "+OK",
}


class Switch:
    """Answers from a table; a channel of the doctor's ends when asked about the second time."""

    def __init__(self, **changes: str) -> None:
        self.answers = HEALTHY | changes
        self.asked: list[str] = []
        self.remarks: dict[str, str] = {}
        self.played = "FILE PLAYED"
        self.unreachable: set[str] = set()
        self.stuck = False

    def api(self, command: str) -> str:
        self.asked.append(command)
        if command in self.answers:
            return self.answers[command]
        if command.startswith("module_exists "):
            return "true"
        if command.startswith("file_exists "):
            return "true"
        if command.startswith("originate "):
            return self._originate(command)
        if command.startswith("uuid_exists "):
            return "true" if self.stuck else "false"
        if command.startswith("global_getvar callflows_doctor_"):
            return self.remarks.get(command.split()[1], "-ERR no reply")
        return "-ERR no reply"

    def _originate(self, command: str) -> str:
        actions, mark = command.split("'")[1].split(",set_global:")
        name, _, remark = mark.partition("=")
        application, _, argument = actions.partition(":")
        if application == "playback":
            self.remarks[name] = self.played
        elif argument.split()[0] in self.unreachable:
            self.remarks[name] = remark
        return "+OK 0b187f16-7538-49ec-b07f-ca10509524b9"


def examine(switch: Switch, **settings: object):
    """The findings of a switch by subject, without the switch's name."""
    given = {
        "sounds_dir": SOUNDS,
        "control_password": "own",
        "control_addresses": ["10.0.0.5:8021"],
    } | settings
    clock = iter(range(100_000))
    checks = SwitchChecks(
        "fs1",
        switch,
        Settings(**given),
        load_catalogue(),
        now=lambda: NOW + next(clock) / 100,
        sleep=lambda seconds: None,
    )
    return [(each.subject.removeprefix("fs1: "), each) for each in checks.run()]


def failures(found) -> dict[str, str]:
    return {subject: each.text for subject, each in found if each.state == "FAIL"}


def test_a_healthy_switch_passes():
    """Every line passes; every number and every worker has one."""
    switch = Switch()
    found = examine(switch)
    assert failures(found) == {}
    subjects = [subject for subject, _ in found]
    for subject in (
        "version",
        "modules",
        "clock",
        "dialplan 2000 in callflows",
        "dialplan 2000 in payment",
        "dialplan 9990 in payment",
        "dialplan 2020 in care",
        "worker 10.0.0.1:8084",
        "worker 10.0.0.2:8084",
        "SIP",
        "gateway callflows_payment",
        "dialplan 2001 in callflows_announce",
        "gateway carrier",
        "recordings fa",
        "recordings ru",
        "apology",
        "call records",
    ):
        assert subject in subjects
    assert all(each.state == "pass" for _, each in found)


def test_nothing_is_left_on_the_switch():
    """Its channels make no call records, and its variables are taken away again."""
    switch = Switch()
    examine(switch)
    made = [each for each in switch.asked if each.startswith("originate")]
    assert made
    assert all("process_cdr=false" in each and "null/" in each for each in made)
    unset = [each for each in switch.asked if each.startswith("global_setvar")]
    assert len(unset) == len(made)
    assert all(each.endswith("=") for each in unset)


@pytest.mark.parametrize(
    ("command", "answer", "subject", "text"),
    [
        ("version", "FreeSWITCH Version 1.8.7~64bit", "version", "1.8.7"),
        ("version", "Asterisk 20", "version", "unknown"),
        ("module_exists mod_python3", "false", "modules", "mod_python3 is not loaded"),
        ("module_exists mod_sofia", "false", "modules", "mod_sofia is not loaded"),
        ("strepoch", "1795290010", "clock", "10 s apart"),
        ("strepoch", "1795289990", "clock", "9 s apart"),
        ("strepoch", "-ERR no reply", "clock", "unknown"),
        ("status", "per Sec out of max 30,\n1000 session(s) max", "capacity", "takes 2000"),
        ("global_getvar callflows_sounds_dir", "-ERR no reply", "configuration", "not loaded"),
        ("global_getvar callflows_sounds_dir", "/other", "configuration", "is /other"),
        (
            "xml_locate dialplan context name payment",
            PAYMENT.replace("|9990", ""),
            "dialplan 9990 in payment",
            "no extension has this number",
        ),
        (
            "xml_locate dialplan context name care",
            "can't find anything",
            "dialplan 2020 in care",
            "no such context",
        ),
        (
            "xml_locate dialplan context name care",
            CARE.replace('application="socket"', 'application="log"'),
            "dialplan 2020 in care",
            "no `socket`",
        ),
        (
            "xml_locate configuration configuration name sofia.conf",
            SOFIA.replace("rtp-timer-name", "rtp-timer"),
            "SIP",
            "rtp-timer-name",
        ),
        (
            "xml_locate configuration configuration name sofia.conf",
            SOFIA.replace('value="callflows"', 'value="public"'),
            "SIP",
            "no SIP profile",
        ),
        ("sofia status profile callflows", "Invalid Profile!", "SIP", "does not run"),
        (
            "sofia status gateway callflows_payment",
            "Status \tDOWN\n",
            "gateway callflows_payment",
            "back to the menu",
        ),
        (
            "sofia status gateway callflows_care",
            "Invalid Gateway!",
            "gateway callflows_care",
            "unknown",
        ),
        ("sofia status gateway carrier", "Invalid Gateway!", "gateway carrier", "cannot call"),
        ("sofia status gateway carrier", "Status \tDOWN\n", "gateway carrier", "calls fail"),
        (
            "xml_locate dialplan context name callflows_announce",
            "can't find anything",
            "dialplan 2001 in callflows_announce",
            "no such context",
        ),
        (
            "xml_locate dialplan context name callflows_announce",
            ANNOUNCE.replace(
                "<condition>", "<condition field='destination_number' expression='7'>"
            ),
            "dialplan 2001 in callflows_announce",
            "no extension has this number",
        ),
        (
            f"file_exists {SOUNDS}/ar/technical_trouble/1.wav",
            "false",
            "recordings ar",
            "does not see",
        ),
        ("python callflows_apology check", "-ERR no reply", "apology", "does not run"),
        (
            "python callflows_apology check",
            "callflows_missed_spool: FreeSWITCH may not write in /x",
            "apology",
            "may not write",
        ),
        (
            "xml_locate configuration configuration name json_cdr.conf",
            "can't find anything",
            "call records",
            "no url",
        ),
        (
            "xml_locate configuration configuration name json_cdr.conf",
            RECORDS.replace("own", "change-me"),
            "call records",
            "shipped",
        ),
    ],
)
def test_one_fault_is_one_failure(command, answer, subject, text):
    """It is named where it is, and nothing else fails for it; there is always something to do."""
    found = examine(Switch(**{command: answer}))
    assert list(failures(found)) == [subject]
    assert text in failures(found)[subject]
    assert all(each.remedy for _, each in found if each.state == "FAIL")


def test_a_worker_that_the_switch_does_not_reach():
    """Only the one of two that is away fails."""
    switch = Switch()
    switch.unreachable = {"10.0.0.2:8084"}
    assert list(failures(examine(switch))) == ["worker 10.0.0.2:8084"]


def test_a_worker_that_says_nothing_is_not_waited_for_for_ever():
    """The channel is ended after the deadline, and the worker named."""
    switch = Switch()
    switch.stuck = True
    found = failures(examine(switch))
    assert "says nothing" in found["worker 10.0.0.1:8084"]
    assert any(each.startswith("uuid_kill") for each in switch.asked)


def test_recordings_that_the_switch_may_not_read():
    """It sees the file and cannot open it: permissions."""
    switch = Switch()
    switch.played = "FILE NOT FOUND"
    found = examine(switch)
    assert set(failures(found)) == {
        f"recordings {language}" for language in ("fa", "ar", "ru", "en")
    }
    assert "chmod" in next(each.remedy for _, each in found if each.state == "FAIL")


def test_the_shipped_password_fails():
    """Everybody knows it."""
    assert list(failures(examine(Switch(), control_password="change-me"))) == ["control password"]


def test_a_route_of_the_operators_own_needs_no_gateway():
    """Who routes transfers otherwise is not told about gateways that are not used."""
    found = examine(Switch(**{"global_getvar callflows_care_route": "sofia/core/$1@10.0.0.9"}))
    assert "gateway callflows_care" not in dict(found)


def test_who_has_no_carrier_is_told_and_not_blamed():
    """The shipped host is nobody's; whoever has no campaigns leaves it as it is."""
    changes = {
        "global_getvar callflows_carrier_host": "127.0.0.1:5092",
        "sofia status gateway carrier": "Status \tDOWN\n",
    }
    found = examine(Switch(**changes))
    assert failures(found) == {}
    assert dict(found)["gateway carrier"].state == "skip"


def test_the_gateway_is_the_dial_string_s():
    """One of the site's own is looked at, and none where calls leave otherwise."""
    own = {"sofia status gateway trunk7": "Status \tDOWN\n"}
    found = examine(Switch(**own), dial_string="sofia/gateway/trunk7/{e164}")
    assert list(failures(found)) == ["gateway trunk7"]
    assert "vars.xml" not in dict(found)["gateway trunk7"].remedy
    found = examine(Switch(), dial_string="sofia/callflows/{e164}@10.0.0.9")
    assert not any(subject == "gateway carrier" for subject, _ in found)


def test_a_switch_that_goes_away_ends_the_examination():
    """The command turns it into one line; nothing hangs."""

    class Gone(Switch):
        def api(self, command: str) -> str:
            if command == "status":
                raise SwitchAway("the switch closed the connection", "look")
            return super().api(command)

    with pytest.raises(SwitchAway):
        examine(Gone())
