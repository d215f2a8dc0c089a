"""What `callflows doctor` asks a FreeSWITCH.

Nothing here changes the switch or touches a subscriber's call. Where an answer needs a channel, it
is one of the `null` endpoint, which leads nowhere, carries no SIP, and leaves no call record.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree

from callflows.config import LANGUAGES, Settings
from callflows.phrases import TECHNICAL_TROUBLE
from cli.findings import Finding, failed, passed, skipped
from cli.switch_api import SwitchApi
from sounds import Catalogue

VERSION = (1, 10)
# What each is for; without the last two callers are served all the same, and operations miss them.
MODULES = {
    "mod_event_socket": "the worker's connections",
    "mod_commands": "the commands of this check",
    "mod_dptools": "playback, digits, bridge",
    "mod_dialplan_xml": "the dialplan",
    "mod_sofia": "SIP",
    "mod_sndfile": "the recordings",
    "mod_tone_stream": "the ringing tone of transfers",
    "mod_loopback": "calls of the switch to itself",
    "mod_json_cdr": "call records",
    "mod_python3": "the apology and its note when no worker is there",
}
PACKAGED = {"mod_json_cdr": "freeswitch-mod-json-cdr", "mod_python3": "freeswitch-mod-python3"}
CLOCKS_S = 2.0
"""How far apart clocks may be: times in journals and call records are compared."""
PROBE_S = 5.0
UNSAFE = ("change-me", "ClueCon", "")
NO_CARRIER = "127.0.0.1:5092"
"""The carrier of the shipped vars.xml, which is none: whoever has no campaigns leaves it."""

APOLOGY = "callflows_apology"
RELOAD = "Correct callflows/vars.xml, then: fs_cli -x reloadxml"


class SwitchChecks:
    """Asks one switch; ``name`` is its address, ``now`` gives our time (seconds since 1970)."""

    def __init__(
        self,
        name: str,
        switch: SwitchApi,
        settings: Settings,
        catalogue: Catalogue,
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._name = name
        self._switch = switch
        self._settings = settings
        self._catalogue = catalogue
        self._now = now
        self._sleep = sleep

    def run(self) -> Iterator[Finding]:
        """Every check in turn. Raises SwitchAway where the switch is lost on the way."""
        yield self._version()
        yield from self._modules()
        yield self._clock()
        yield self._capacity()
        yield self._variables()
        yield self._control_password()
        workers: dict[str, None] = {}
        for context, number in self._numbers():
            finding, sockets = self._dialplan(context, number)
            workers.update(dict.fromkeys(sockets))
            yield finding
        for worker in workers:
            yield self._worker(worker)
        yield from self._profiles()
        yield from self._gateways()
        yield from self._carrier()
        yield from self._sounds()
        yield self._apology()
        yield self._call_records()

    # -- the switch itself ------------------------------------------------------------------

    def _version(self) -> Finding:
        answer = self._switch.api("version")
        match = re.search(r"Version (\d+)\.(\d+)\.(\S+?)[ ~]", answer + " ")
        if match is None:
            return failed(self._subject("version"), f"unknown: {answer[:60]}", "Is it FreeSWITCH?")
        version = f"FreeSWITCH {match[1]}.{match[2]}.{match[3]}"
        if (int(match[1]), int(match[2])) != VERSION:
            return failed(
                self._subject("version"), version, "callflows is tried on FreeSWITCH 1.10."
            )
        return passed(self._subject("version"), version)

    def _modules(self) -> Iterator[Finding]:
        missing = [name for name in MODULES if self._switch.api(f"module_exists {name}") != "true"]
        if not missing:
            yield passed(self._subject("modules"), f"{len(MODULES)} loaded")
        for name in missing:
            package = f"apt install {PACKAGED[name]}; " if name in PACKAGED else ""
            yield failed(
                self._subject("modules"),
                f"{name} is not loaded ({MODULES[name]})",
                f"{package}fs_cli -x 'load {name}' says what is wrong with it.",
            )

    def _clock(self) -> Finding:
        before = self._now()
        answer = self._switch.api("strepoch")
        after = self._now()
        if not answer.isdigit():
            return failed(self._subject("clock"), f"unknown: {answer[:60]}", "Load mod_commands.")
        # The answer is cut to whole seconds.
        theirs = int(answer)
        apart = max(before - (theirs + 1), theirs - after, 0.0)
        if apart > CLOCKS_S:
            return failed(
                self._subject("clock"),
                f"{apart:.0f} s apart from ours",
                "Synchronise both machines' clocks (chrony, systemd-timesyncd), then: "
                "fs_cli -x 'fsctl sync_clock'",
            )
        return passed(self._subject("clock"), "agrees with ours")

    def _capacity(self) -> Finding:
        status = self._switch.api("status")
        sessions = re.search(r"(\d+) session\(s\) max", status)
        rate = re.search(r"per Sec out of max (\d+)", status)
        if sessions is None or rate is None:
            return failed(self._subject("capacity"), "unknown", "fs_cli -x status")
        text = f"{sessions[1]} calls at once, {rate[1]} new ones a second"
        if int(sessions[1]) < self._settings.max_calls:
            return failed(
                self._subject("capacity"),
                f"{text}; a worker takes {self._settings.max_calls}",
                "Raise max-sessions and sessions-per-second (switch.conf.xml, or vars.xml with "
                "callflows.xml), or lower max_calls.",
            )
        return passed(self._subject("capacity"), text)

    # -- our configuration in it ------------------------------------------------------------

    def _variables(self) -> Finding:
        theirs = self._variable("callflows_sounds_dir")
        ours = str(Path(self._settings.sounds_dir).resolve())
        if not theirs:
            return failed(
                self._subject("configuration"),
                "the callflows configuration is not loaded",
                "Copy conf/freeswitch into /etc/freeswitch (docs/freeswitch.md), restart it.",
            )
        if theirs.rstrip("/") != ours:
            return failed(
                self._subject("configuration"),
                f"callflows_sounds_dir is {theirs}, sounds_dir is {ours}",
                f"Both have to be the same absolute path. {RELOAD}",
            )
        return passed(self._subject("configuration"), "callflows/vars.xml is loaded")

    def _control_password(self) -> Finding:
        configured = self._settings.control_password
        if configured is None or configured.get_secret_value() in UNSAFE:
            return failed(
                self._subject("control password"),
                "is the shipped one, which everybody knows",
                "Put a secret of your own into callflows_control_password and control_password, "
                "restart FreeSWITCH.",
            )
        return passed(self._subject("control password"), "is one of your own")

    def _numbers(self) -> Iterator[tuple[str, str]]:
        settings = self._settings
        for number in settings.services:
            yield "callflows", number
        yield settings.payment_context, settings.payment_fixed
        yield settings.payment_context, settings.payment_mobile
        yield settings.care_context, settings.care_number
        yield settings.announce_context, settings.announce_number

    def _dialplan(self, context: str, number: str) -> tuple[Finding, list[str]]:
        """Whether a number is served, and the workers that its calls are offered to."""
        subject = self._subject(f"dialplan {number} in {context}")
        root = self._xml(f"xml_locate dialplan context name {context}")
        if root is None:
            return failed(
                subject, "no such context", "Copy conf/freeswitch/dialplan, then reloadxml."
            ), []
        # Only dialers place calls into the campaigns' context: an extension for any number will do.
        actions = _actions(root, number, any_number=context == self._settings.announce_context)
        if not actions:
            return failed(subject, "no extension has this number", RELOAD), []
        hosts = [_hosts(argument) for application, argument in actions if application == "socket"]
        if not hosts:
            return failed(
                subject,
                "its extension has no `socket`: a call would not reach a worker",
                "Use the dialplan in conf/freeswitch/dialplan.",
            ), []
        workers = [host for each in hosts for host in each]
        return passed(subject, f"leads to {', '.join(dict.fromkeys(workers))}"), workers

    def _worker(self, address: str) -> Finding:
        """Let the switch itself open the connection of a call that ends at once."""
        subject = self._subject(f"worker {address}")
        seen = self._probe(f"socket:{address} full", "not reached")
        if seen == "not reached":
            return failed(
                subject,
                "the switch gets no connection",
                "Is `callflows run` running and not full, does worker_listen have this address "
                "(127.0.0.1 only for a switch on the same machine), does the firewall let it in?",
            )
        if seen is None:
            return failed(
                subject, "accepts and says nothing", "Look at the log of `callflows run`."
            )
        return passed(subject, "takes a call from the switch")

    def _profiles(self) -> Iterator[Finding]:
        subject = self._subject("SIP")
        root = self._xml("xml_locate configuration configuration name sofia.conf")
        ours = [] if root is None else [each for each in root.iter("profile") if _is_ours(each)]
        if not ours:
            yield failed(
                subject,
                "no SIP profile leads to the context callflows",
                "Copy conf/freeswitch/sip_profiles, restart FreeSWITCH.",
            )
        for profile in ours:
            name = profile.get("name", "")
            settings = _params(profile.find("settings"))
            status = self._switch.api(f"sofia status profile {name}")
            if "Invalid Profile" in status or not status:
                yield failed(
                    subject,
                    f"profile {name} does not run",
                    f"fs_cli -x 'sofia profile {name} start', and look at the log: is the port "
                    f"{settings.get('sip-port', '')} taken?",
                )
            elif settings.get("rtp-timer-name") != "soft":
                yield failed(
                    subject,
                    f"profile {name} has no rtp-timer-name soft",
                    "Without it a caller who sends no audio hears nothing; set it in the profile.",
                )
            else:
                where = f"{settings.get('sip-ip')}:{settings.get('sip-port')}"
                yield passed(subject, f"profile {name} listens at {where}")

    def _gateways(self) -> Iterator[Finding]:
        for name, what in (
            ("callflows_payment", "the payment system (key 1)"),
            ("callflows_care", "customer care (key 0)"),
        ):
            variable = f"{name}_route"
            if f"gateway/{name}" not in self._variable(variable):
                continue  # the operator routes it otherwise
            answer = self._switch.api(f"sofia status gateway {name}")
            status = re.search(r"^Status\s+(\S+)", answer, re.MULTILINE)
            subject = self._subject(f"gateway {name}")
            if status is None:
                yield failed(subject, "unknown to the switch", "fs_cli -x 'sofia status'")
            elif status[1].startswith("UP"):
                yield passed(subject, f"{what} answers")
            else:
                yield failed(
                    subject,
                    f"{what} does not answer; callers come back to the menu",
                    f"Correct {name}_host in callflows/vars.xml, then: "
                    "fs_cli -x 'sofia profile callflows rescan reloadxml'",
                )

    def _carrier(self) -> Iterator[Finding]:
        """The gateway over which campaigns call."""
        match = re.match(r"sofia/gateway/([^/{}]+)/", self._settings.dial_string)
        if match is None:
            return  # dialled otherwise
        name = match[1]
        subject = self._subject(f"gateway {name}")
        answer = self._switch.api(f"sofia status gateway {name}")
        status = re.search(r"^Status\s+(\S+)", answer, re.MULTILINE)
        ours = name == "carrier" and self._variable("callflows_carrier_host")
        if status is None:
            yield failed(
                subject,
                "unknown to the switch: campaigns cannot call",
                "Name a gateway of the switch in dial_string (fs_cli -x 'sofia status'), or copy "
                "conf/freeswitch/sip_profiles.",
            )
        elif ours == NO_CARRIER:
            yield skipped(subject, "callflows_carrier_host is not filled in: campaigns cannot call")
        elif status[1].startswith("UP"):
            yield passed(subject, "the carrier of campaigns' calls answers")
        else:
            yield failed(
                subject,
                "the carrier does not answer; campaigns' calls fail",
                "Correct callflows_carrier_host in callflows/vars.xml, then: "
                "fs_cli -x 'sofia profile callflows rescan reloadxml'"
                if ours
                else f"fs_cli -x 'sofia status gateway {name}', and look at its configuration",
            )

    # -- what it plays and writes -----------------------------------------------------------

    def _sounds(self) -> Iterator[Finding]:
        folder = Path(self._settings.sounds_dir).resolve()
        for language in LANGUAGES:
            subject = self._subject(f"recordings {language}")
            name = self._catalogue.recordings(TECHNICAL_TROUBLE, language)[0]
            file = folder / name
            if set(str(file)) & set(",:'${} "):
                yield skipped(
                    subject, f"{file}: a path with such letters cannot be tried from here"
                )
                continue
            if self._switch.api(f"file_exists {file}") != "true":
                yield failed(
                    subject,
                    f"the switch does not see {file}",
                    "The folder has to be on the switch's machine, at the same path: "
                    "`callflows sounds build` there, or share it.",
                )
                continue
            said = self._probe(f"playback:{file}", "${current_application_response}")
            if said in (None, "FILE PLAYED"):
                # None: it is playing still, longer than we wait.
                yield passed(subject, "the switch plays them")
            else:
                yield failed(
                    subject,
                    f"the switch cannot play {file}: {said}",
                    "The account of FreeSWITCH needs read access: chmod -R a+rX on the folder.",
                )

    def _apology(self) -> Finding:
        subject = self._subject("apology")
        if self._switch.api("module_exists mod_python3") != "true":
            return skipped(subject, "needs mod_python3")
        answer = self._switch.api(f"python {APOLOGY} check")
        if answer == "+OK":
            return passed(subject, "callers without a worker hear it, and are noted")
        if not answer or answer.startswith("-ERR"):
            return failed(
                subject,
                "the script does not run",
                "Copy conf/freeswitch/scripts to the switch's script folder (fs_cli -x "
                "'global_getvar script_dir'); its log names the error.",
            )
        return failed(
            subject, answer, "Correct callflows/vars.xml or the folder's owner and permissions."
        )

    def _call_records(self) -> Finding:
        subject = self._subject("call records")
        root = self._xml("xml_locate configuration configuration name json_cdr.conf")
        settings = {} if root is None else _params(root.find("settings"))
        if not settings.get("url"):
            return failed(
                subject,
                "json_cdr.conf has no url",
                "Copy conf/freeswitch/autoload_configs, restart FreeSWITCH.",
            )
        if settings.get("cred", "").partition(":")[2] in UNSAFE:
            return failed(
                subject,
                "their password is the shipped one",
                "Put a secret of your own into callflows_cdr_password, restart FreeSWITCH.",
            )
        return passed(subject, f"go to {settings['url']}")

    # -- asking -----------------------------------------------------------------------------

    def _subject(self, what: str) -> str:
        return f"{self._name}: {what}"

    def _variable(self, name: str) -> str:
        answer = self._switch.api(f"global_getvar {name}")
        return "" if answer.startswith("-ERR") else answer

    def _xml(self, command: str) -> ElementTree.Element | None:
        try:
            return ElementTree.fromstring(self._switch.api(command))  # noqa: S314 - our own switch
        except ElementTree.ParseError:
            return None

    def _probe(self, action: str, remark: str) -> str | None:
        """Run an application on a channel that leads nowhere; then `remark`, if it goes on.

        Returns the remark; "" where the application ended the channel; None where it is still in
        the application after PROBE_S seconds (the channel is ended).
        """
        mark = f"callflows_doctor_{secrets.token_hex(6)}"
        answer = self._switch.api(
            "originate {process_cdr=false}null/callflows-doctor "
            f"'{action},set_global:{mark}={remark}' inline"
        )
        if not answer.startswith("+OK "):
            return answer or "the switch makes no channel"
        channel = answer.removeprefix("+OK ")
        deadline = self._now() + PROBE_S
        while self._switch.api(f"uuid_exists {channel}") == "true":
            if self._now() > deadline:
                self._switch.api(f"uuid_kill {channel}")
                return None
            self._sleep(0.1)
        said = self._variable(mark)
        self._switch.api(f"global_setvar {mark}=")
        return said


def _actions(
    context: ElementTree.Element, number: str, *, any_number: bool
) -> list[tuple[str, str]]:
    """The actions of the first extension whose conditions on the number it meets.

    Conditions on anything else cannot be judged from outside. Extensions that go on (``continue``)
    are passed over and, without ``any_number``, those for any number: an unknown one is refused
    there.
    """
    for extension in context.iter("extension"):
        if extension.get("continue") == "true":
            continue
        conditions = [
            each
            for each in extension.iter("condition")
            if each.get("field") == "destination_number"
        ]
        if not conditions and not any_number:
            continue
        if all(_matches(each.get("expression", ""), number) for each in conditions):
            return [
                (action.get("application", ""), action.get("data", ""))
                for action in extension.iter("action")
            ]
    return []


def _matches(expression: str, number: str) -> bool:
    try:
        return re.search(expression, number) is not None
    except re.error:
        return False


def _hosts(argument: str) -> list[str]:
    """The addresses in the argument of `socket`: ``host:port|host:port full``."""
    return [host for host in argument.partition(" ")[0].split("|") if host]


def _params(settings: ElementTree.Element | None) -> dict[str, str]:
    params: Iterable[ElementTree.Element] = () if settings is None else settings.iter("param")
    return {param.get("name", ""): param.get("value", "") for param in params}


def _is_ours(profile: ElementTree.Element) -> bool:
    return _params(profile.find("settings")).get("context") == "callflows"
