"""A session that is watched while the switch is at work, and one that lingers after a hangup."""

from __future__ import annotations

import os

import gevent
import gevent.socket
import pytest
from esl_peer import CONNECT_ANSWER, LINGER, NOTICE, reply

from callflows.call import CallerGone
from esl_worker.connecting import make_folder
from esl_worker.dialling import check_dial_string, endpoint_of
from esl_worker.session import (
    ReplyTimeout,
    Session,
    api_command,
    execute_command,
    getvar_command,
    linger_command,
)

PLAY = execute_command("playback", "a.wav")
ASK = getvar_command("callflows_connected")


@pytest.fixture
def pair():
    """A connected session, and the switch's end of its socket."""
    ours, theirs = gevent.socket.socketpair()
    theirs.settimeout(5)
    session = Session("switch", ours, reply_timeout_s=5.0, connect_timeout_s=1.0)
    theirs.sendall(CONNECT_ANSWER)
    session.connect()
    theirs.recv(1 << 16)
    yield session, theirs
    session.close()
    theirs.close()


def later(seconds, function, *args):
    gevent.spawn_later(seconds, function, *args)


def test_a_look_each_while(pair):
    """As long as nothing comes from the switch."""
    session, switch = pair
    looks = []
    later(0.5, switch.sendall, reply())
    assert session.exchange([PLAY], look=lambda: looks.append(1), look_s=0.1)[0].text == "+OK"
    assert 3 <= len(looks) <= 5


def test_what_a_look_raises_ends_nothing(pair, caplog):
    """It is logged, and the next look follows."""
    session, switch = pair
    looks = []

    def look():
        looks.append(1)
        raise LookupError("in a look")

    later(0.3, switch.sendall, reply())
    session.exchange([PLAY], look=look, look_s=0.1)
    assert len(looks) >= 2
    assert "what watches it failed" in caplog.text


def test_a_look_must_not_use_the_session(pair, caplog):
    """Its answer would be taken for that of the command that runs."""
    session, switch = pair
    later(0.2, switch.sendall, reply())
    session.exchange([PLAY], look=lambda: session.getvar("x"), look_s=0.05)
    assert "in use by another greenlet" in caplog.text


def test_a_look_may_end_the_session(pair):
    """As somebody does who finds out that the switch has lost the call."""
    session, _ = pair
    with pytest.raises(CallerGone):
        session.exchange([PLAY], look=session.close, look_s=0.05)


def test_a_watched_exchange_has_its_end(pair):
    """Looks do not put off the time-out."""
    session, _ = pair
    with pytest.raises(ReplyTimeout):
        session.exchange([PLAY], 0.3, look=lambda: None, look_s=0.05)


def test_the_hangup_is_noticed_at_once(pair):
    """Not with the next look."""
    session, switch = pair
    later(0.1, switch.sendall, NOTICE)
    with gevent.Timeout(1.0), pytest.raises(CallerGone):
        session.exchange([PLAY], look=lambda: None, look_s=30.0)


def test_answers_behind_the_notice(pair):
    """What was asked before is answered after the hangup; the next command ends in CallerGone."""
    session, switch = pair
    later(0.1, switch.sendall, reply() + LINGER)
    later(0.2, switch.sendall, reply("1795304858564786"))
    replies = session.exchange([linger_command(5), ASK])
    assert [each.text for each in replies] == ["+OK", "1795304858564786"]
    assert session.ended
    with pytest.raises(CallerGone):
        session.exchange([PLAY])


def test_no_answer_behind_the_notice(pair):
    """The caller is gone, and that is no time-out of the switch."""
    session, switch = pair
    switch.sendall(reply() + LINGER)
    with gevent.Timeout(20.0), pytest.raises(CallerGone):
        session.exchange([PLAY, ASK], 60.0)


@pytest.mark.parametrize("command", ["a\nb", "a\rb", "a\0b"])
def test_no_second_command_in_an_api_command(command):
    """As everywhere: a line break would be one."""
    with pytest.raises(ValueError, match="line break"):
        api_command(command)


@pytest.mark.parametrize(
    ("dial_string", "endpoint"),
    [
        ("sofia/gateway/carrier/{national}", "sofia/gateway/carrier/09121234567"),
        ("sofia/external/{e164}@sbc.example", "sofia/external/989121234567@sbc.example"),
    ],
)
def test_dial_strings(dial_string, endpoint):
    """The number in its place, in the wanted form."""
    assert endpoint_of(check_dial_string(dial_string), "+989121234567") == endpoint


def test_what_is_no_number_is_not_dialled():
    """Nothing of it gets into the dial string."""
    for number in ("09121234567", "+98912]sofia/x", "", "+1 2"):
        with pytest.raises(ValueError, match="not an E"):
            endpoint_of("sofia/{e164}", number)


def test_folders_of_recordings_are_as_open_as_the_first(tmp_path):
    """Whatever the process's umask says: the switch, of the same group, has to write there."""
    root = tmp_path / "recordings"
    umask = os.umask(0o077)
    try:
        make_folder(root, root)
        root.chmod(0o2770)
        make_folder(root / "services" / "909", root)
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(umask)
    assert oct((root / "services" / "909").stat().st_mode & 0o7777) == oct(0o2770)
