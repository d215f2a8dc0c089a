"""A premium world behind a FreeSWITCH; caller and consultant are legs of another profile of it."""

from __future__ import annotations

import json
import struct
import time
import uuid
from array import array
from dataclasses import replace

import gevent

from billing.journal import Journal as Store
from callflows.call import Timers
from callflows.journal import Journal
from callflows.premium.premium_flow import PremiumFlow
from esl_worker.connecting import Means
from esl_worker.control import Control, Timing
from esl_worker.journal import JournalWriter
from esl_worker.server import WorkerServer
from esl_worker.worker import Worker
from sounds import Library, Phrase, Recording, load_catalogue, wav
from tests.calls.consultation_house import write_tone
from tests.calls.freeswitch import PASSWORD, Freeswitch, find_binary, free_ports
from tests.calls.premium_scenarios import KEY, SCENARIOS
from tests.calls.premium_world import TREE, PremiumWorld, Running

CATALOGUE = load_catalogue()
PATIENCE_S = 30.0
# A prompt is a row of these: short, so that a call is over soon.
PIECE_S = 0.08
WARNING_S = 4
# What can be told apart in the recordings of caller and consultant.
TONES = {"whisper_first": 1000, "premium_credit_warning": 1600}
SLOTS = {
    "whisper_first": {"service": Recording("services/9091234567/1/fa/name.wav", "")},
    "premium_credit_warning": {"left": 3},
}
# Takes a call after the whisper, by the key.
CONSULTANT = """
    <extension name="ahmadi"><condition field="destination_number" expression="^02188770001$">
      <action application="answer"/>
      <action application="record_session" data="{folder}/ahmadi.wav"/>
      <action application="sleep" data="2000"/>
      <action application="send_dtmf" data="1"/>
      <action application="sleep" data="60000"/></condition></extension>
"""


class Telling(Journal):
    """A journal that tells what is heard at once."""

    def __init__(self, journal, heard):
        super().__init__(leg=journal.leg, elapsed_s=journal.elapsed_s)
        self.told = heard

    def heard(self, prompt):
        super().heard(prompt)
        self.told.append(prompt.keys)


class Journals(JournalWriter):
    """Journals that tell the place what is heard."""

    def __init__(self, store, heard):
        super().__init__(store, interval_s=0.1)
        self.heard = heard
        self.call_id = ""

    def begin(self, call, at):
        self.call_id = call.id
        call.journal = Telling(call.journal, self.heard)
        super().begin(call, at)


class Place:
    """A premium world behind a FreeSWITCH; its caller is a leg of another profile of it."""

    def __init__(self, folder, premiere=SCENARIOS[0], draw=None):
        self.folder = folder
        (folder / "world").mkdir()
        self.world = world = PremiumWorld(folder / "world", premiere, Running())
        sounds = folder / "sounds"
        trees = replace(world.premium.trees, library=Library(sounds))
        premium = replace(world.premium, trees=trees, warning_s=WARNING_S)
        if draw is not None:
            premium = replace(premium, draw=draw)
        world.services = replace(world.services, premium=premium)
        short = array("h", [0]) * round(PIECE_S * wav.RATE_HZ)
        names = set(CATALOGUE.needed("fa"))
        names |= {f"services/9091234567/1/fa/tree/{node}.wav" for node in TREE["nodes"]}
        names |= {"services/9091234567/1/fa/name.wav"}
        for name in names:
            long = array("h", [0]) * (2 * wav.RATE_HZ)
            wav.write(sounds / name, long if "/tree/" in name else short)
        for key, hz in TONES.items():
            for name in CATALOGUE.recordings(Phrase(key, **SLOTS[key]), "fa")[:1]:
                write_tone(sounds / name, hz, 0.6)
        self.heard = []
        self.journals = Journals(Store(self.world.database), self.heard)
        self.journals.start()
        port = free_ports(1)[0]
        self.control = None
        (folder / "switch").mkdir()
        self.switch = Freeswitch(
            find_binary(),
            folder / "switch",
            workers=f"127.0.0.1:{port}",
            sounds=sounds,
            arrivals=CONSULTANT.format(folder=folder),
        )
        worker = Worker(
            self.world.services,
            {PremiumFlow.name: PremiumFlow},
            {},
            CATALOGUE,
            sounds,
            self.journals,
            prefixes={"909": "premium"},
            timers=Timers(first_digit_s=1.5, next_digit_s=1.0),
            means=Means(
                recordings_dir=folder,
                control_of=lambda _: self.control,
                dial_string=f"sofia/callflows/{{national}}@127.0.0.1:{self.switch.far_port}",
                look_s=0.5,
            ),
        )
        self.session = None

        def serve(session):
            self.session = session
            worker(session)

        self.server = WorkerServer(("127.0.0.1", port), serve)
        self.server.start()
        self.switch.start()
        address = ("127.0.0.1", self.switch.control_port)
        self.control = Control(address, PASSWORD, timing=Timing(retry_s=0.05))
        self.control.start()
        assert self.control.wait_connected(PATIENCE_S)

    def dial(self):
        """The caller dials the service."""
        self.leg = str(uuid.uuid4())
        where = f"sofia/far_end/9091234567@127.0.0.1:{self.switch.sip_port}"
        self.control.bgapi(
            f"originate {{origination_uuid={self.leg},origination_caller_id_number=02188776655,"
            f"sip_cid_type=pid,ignore_early_media=true}}{where} "
            f"'&record({self.folder}/caller.wav 600)'",
            lambda _: None,
        )

    def press(self, keys):
        """The caller presses keys, as fast as a telephone sends them."""
        self.control.api(f"uuid_send_dtmf {self.leg} {keys}@60")

    def kill_worker(self):
        """As the kernel does for a process that is killed: the socket closes, nothing is said."""
        self.session.sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER 0: a reset
        self.session.close()

    def accept(self):
        """The caller dials, listens, and accepts."""
        self.dial()
        self.until_heard((KEY,))
        gevent.sleep(0.8)
        self.press("7")
        self.until_heard(("premium_accepted",))

    def standing(self):
        """What of the call is charged."""
        return self.world.standing(self.journals.call_id)

    def digit(self):
        """The digit that was drawn, from the call's channel."""
        context = self.control.api(f"uuid_getvar {self.journals.call_id} callflows_context")
        return json.loads(context)["digit"]

    def until(self, condition):
        """Wait until something is true."""
        limit = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < limit, self.heard
            gevent.sleep(0.02)

    def until_heard(self, keys, count=1):
        """Wait until a prompt has begun so many times."""
        limit = time.monotonic() + PATIENCE_S
        while self.heard.count(keys) < count:
            assert time.monotonic() < limit, self.heard
            gevent.sleep(0.01)

    def until_over(self):
        """Wait until the call is over."""
        limit = time.monotonic() + PATIENCE_S
        while "\n0 total" not in self.control.api("show channels"):
            assert time.monotonic() < limit, self.heard
            gevent.sleep(0.05)
        assert self.server.drain(5.0) == 0

    def close(self):
        """End all."""
        self.control.stop()
        self.server.drain(1.0)
        self.switch.stop()
        self.journals.stop()
        self.world.close()
