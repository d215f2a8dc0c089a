"""No worker takes the call: note it, apologise in the caller's language, hang up.

Runs inside FreeSWITCH (mod_python3), in the interpreter of the system and without any package:
only the standard library. The dialplan calls it in the context `callflows_apology`.

The note is one JSON file for each call in `callflows_missed_spool`, written before anything is
played, so that a caller who hangs up at the first word is on the call-back list too; `callflows
missed` takes the files in. It is complete or not there: written aside, then renamed.
"""

import contextlib
import json
import os
import re
from datetime import datetime, timezone

import freeswitch

LANGUAGES = ("fa", "ar", "ru", "en")
# "We are sorry." "Because of a technical fault we cannot serve you just now." "Nothing has been
# charged or sent." "Please call again in a few minutes."
SENTENCES = ("1", "2", "3", "4")
# In the middle of a conversation something may have been sent: the third sentence is left out.
SENTENCES_MIDWAY = ("1", "2", "4")
PAUSE = "silence/0300.wav"
CAUSE = "NORMAL_TEMPORARY_FAILURE"
FORMAT = 1


def handler(session, args):
    """What mod_python3 calls for one call; returns without hanging up where nothing was played.

    The dialplan's next actions then say the sentence.
    """
    try:
        note(session)
    except Exception as error:  # whatever it is, the caller hears the apology
        _log("ERR", f"the missed call was not noted: {type(error).__name__}: {error}")
    files = apology(session)
    if not files:
        _log("ERR", "no recordings for the apology: callflows_sounds_dir is wrong or unreadable")
        return
    session.answer()
    session.execute("playback", "file_string://" + "!".join(files))
    session.hangup(CAUSE)


def fsapi(session, stream, env, args):
    """`fs_cli -x 'python callflows_apology check'`: whether notes and recordings are at hand."""
    stream.write(trouble(_Globals()) or "+OK")


def trouble(variables):
    """What would keep this script from its work, in words; "" for nothing."""
    spool = _variable(variables, "callflows_missed_spool")
    if not os.path.isdir(spool):
        return f"callflows_missed_spool: no such folder: {spool}"
    if not os.access(spool, os.W_OK | os.X_OK):
        return f"callflows_missed_spool: FreeSWITCH may not write in {spool}"
    if not apology(variables):
        sounds = _variable(variables, "callflows_sounds_dir")
        return f"callflows_sounds_dir: no readable recordings of the apology in {sounds}"
    return ""


class _Globals:
    """The switch's global variables, asked for as a call's are."""

    def getVariable(self, name):
        return freeswitch.getGlobalVariable(name)


def note(session):
    """Write the missed call to the spool. Raises OSError where that is not possible."""
    folder = _variable(session, "callflows_missed_spool")
    if not folder:
        raise OSError("callflows_missed_spool is not set")
    call_id = _variable(session, "uuid")
    if not re.match(r"[0-9A-Za-z-]{1,64}\Z", call_id):
        raise OSError("the call has no usable id")
    missed = {
        "format": FORMAT,
        "call_id": call_id,
        "at": datetime.now(timezone.utc).isoformat(  # noqa: UP017 - the system's Python may be 3.9
            timespec="milliseconds"
        ),
        "caller": _variable(session, "caller_id_number"),
        "dialled": _variable(session, "callflows_dialled")
        or _variable(session, "destination_number"),
        "language": _known(_variable(session, "callflows_language")),
        "flow": _variable(session, "callflows_flow"),
        "state": _variable(session, "callflows_state"),
    }
    draft = os.path.join(folder, f".{call_id}.part")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o660)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(missed, file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(draft, os.path.join(folder, call_id + ".json"))
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise


def apology(session):
    """The files of the apology, in the caller's language where its recordings are there."""
    folder = _variable(session, "callflows_sounds_dir")
    midway = _variable(session, "callflows_state")
    for language in (
        _known(_variable(session, "callflows_language")),
        _known(_variable(session, "callflows_default_language")),
        *LANGUAGES,
    ):
        files = [
            os.path.join(folder, language or "-", "technical_trouble", sentence + ".wav")
            for sentence in (SENTENCES_MIDWAY if midway else SENTENCES)
        ]
        if all(os.access(file, os.R_OK) for file in files):
            pause = os.path.join(folder, PAUSE)
            return [part for file in files for part in (file, pause) if os.access(part, os.R_OK)]
    return []


def _variable(session, name):
    """A channel variable, else the global one of that name; "" where there is none."""
    try:
        return session.getVariable(name) or ""
    except UnicodeError:  # what a caller's equipment sent need not be text
        return ""


def _known(language):
    return language if language in LANGUAGES else ""


def _log(level, text):
    freeswitch.consoleLog(level, f"callflows_apology: {text}\n")
