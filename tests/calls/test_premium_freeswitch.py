"""Height 3: the acceptance of a premium call on a real FreeSWITCH, with real RTP and digits.

What the switch itself has to do right: digits during a playback are swallowed and do not end it,
those before a question are flushed, and a key in the sentence after the right digit ends that.
"""

from __future__ import annotations

import time
import uuid
from array import array
from datetime import timedelta

import gevent
import pytest

from billing.clock import FixedClock
from billing.journal import Journal as Store
from callflows.call import Timers
from callflows.journal import Journal
from callflows.premium.premium_flow import PremiumFlow
from esl_worker.connecting import Means
from esl_worker.control import Control, Timing
from esl_worker.journal import JournalWriter
from esl_worker.server import WorkerServer
from esl_worker.worker import Worker
from sounds import load_catalogue, wav
from tests.calls.freeswitch import PASSWORD, Freeswitch, find_binary, free_ports
from tests.calls.premium_scenarios import ACCEPT, CONNECTING, KEY, SCENARIOS, TERMS
from tests.calls.premium_world import TREE, PremiumWorld
from tests.calls.world import NOW

CATALOGUE = load_catalogue()
PATIENCE_S = 30.0
# A prompt is a row of these: short, so that a call is over soon.
PIECE_S = 0.08

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.freeswitch,
    pytest.mark.xdist_group("freeswitch"),
    pytest.mark.skipif(find_binary() is None, reason="no FreeSWITCH here"),
]


class Running(FixedClock):
    """Goes at the pace of the machine's clock, from the hour of all scenarios on."""

    def __init__(self):
        super().__init__(NOW)
        self._began = time.monotonic()

    def now(self):
        return super().now() + timedelta(seconds=time.monotonic() - self._began)


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

    def begin(self, call, at):
        call.journal = Telling(call.journal, self.heard)
        super().begin(call, at)


class Place:
    """A premium world behind a FreeSWITCH; its caller is a leg of another profile of it."""

    def __init__(self, folder):
        (folder / "world").mkdir()
        self.world = PremiumWorld(folder / "world", SCENARIOS[0], Running())
        sounds = folder / "sounds"
        short = array("h", [0]) * round(PIECE_S * wav.RATE_HZ)
        names = set(CATALOGUE.needed("fa"))
        names |= {f"services/9091234567/1/fa/tree/{node}.wav" for node in TREE["nodes"]}
        names |= {"services/9091234567/1/fa/name.wav"}
        for name in names:
            long = array("h", [0]) * (2 * wav.RATE_HZ)
            wav.write(sounds / name, long if "/tree/" in name else short)
        self.heard = []
        self.journals = Journals(Store(self.world.database), self.heard)
        self.journals.start()
        port = free_ports(1)[0]
        self.control = None
        worker = Worker(
            self.world.services,
            {PremiumFlow.name: PremiumFlow},
            {},
            CATALOGUE,
            sounds,
            self.journals,
            prefixes={"909": "premium"},
            timers=Timers(first_digit_s=1.5, next_digit_s=1.0),
            means=Means(recordings_dir=folder, control_of=lambda _: self.control),
        )
        self.server = WorkerServer(("127.0.0.1", port), worker)
        self.server.start()
        (folder / "switch").mkdir()
        self.switch = Freeswitch(
            find_binary(), folder / "switch", workers=f"127.0.0.1:{port}", sounds=sounds
        )
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
            f"sip_cid_type=pid,ignore_early_media=true}}{where} &park()",
            lambda _: None,
        )

    def press(self, keys):
        """The caller presses keys, as fast as a telephone sends them."""
        self.control.api(f"uuid_send_dtmf {self.leg} {keys}@60")

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


@pytest.fixture
def place(tmp_path):
    """A premium world behind a FreeSWITCH."""
    place = Place(tmp_path)
    yield place
    place.close()


def test_accepted_connected_charged(place):
    """The digit, once, after it was named; early ones were thrown away. Charged is the content."""
    place.dial()
    place.until_heard(TERMS)
    place.press("7")
    place.until_heard((ACCEPT,))
    place.press("7")
    place.until_heard((KEY,))
    gevent.sleep(0.8)
    assert ("premium_accepted",) not in place.heard
    pressed_at = time.monotonic()
    place.press("7")
    place.until_heard(("said",))
    gevent.sleep(3.0)
    place.control.uuid_kill(place.leg)
    place.until_over()
    taken = [TERMS, (ACCEPT,), (KEY,), ("premium_accepted",), (CONNECTING,), ("said",)]
    assert place.heard[:6] == taken
    assert place.world.accepted() == 1
    assert place.world.charged() == 6000
    assert place.world.held() == 0
    assert time.monotonic() - pressed_at < PATIENCE_S


def test_a_flood_of_digits_accepts_nothing(place):
    """All digits in a row, at every question: told so, and in the end nothing is accepted."""
    place.dial()
    for count in (1, 2, 3):
        place.until_heard((KEY,), count)
        gevent.sleep(0.4)
        # A switch sends them 0.44 s apart, and the first one is the right one.
        place.press(f"{'731'[count - 1]}12345")
    place.until_heard(("premium_not_accepted",))
    place.until_over()
    assert place.world.accepted() == 0
    assert place.world.charged() == 0
