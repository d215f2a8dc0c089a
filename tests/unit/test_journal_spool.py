"""What a worker had not stored of its journals when it was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from billing.errors import Unavailable
from billing.journal import CallHeader, Journal, Step
from callflows.call import Call
from callflows.journal import Journal as Steps
from callflows.scripted import ScriptedChannel
from esl_worker.journal import JournalWriter
from esl_worker.journal_spool import Spool, take_in

ROOT = Path(__file__).parents[2]


def header(clock, call_id="call", **facts):
    known = {"ended_at": None, "caller": None, "dialled": None, "line": None}
    known |= {"language": None, "outcome": None}
    return CallHeader(call_id=call_id, started_at=clock.now(), **{**known, **facts})


def step(seq, state="menu"):
    return Step(seq, 10 * seq, state, "event", {"event": f"е{seq}"})


def killed(folder, lines):
    """A worker that has spooled lines of code's worth, and is killed."""
    code = (
        "import os, signal, sys; from datetime import datetime, UTC;"
        "from billing.journal import CallHeader, Step; from esl_worker.journal_spool import Spool;"
        "from pathlib import Path; spool = Spool(Path(sys.argv[1]));"
        "at = datetime(2026, 11, 21, 8, tzinfo=UTC);"
        "header = lambda outcome=None, language=None: CallHeader("
        "'call', at, None, '02188776655', '2000', None, language, outcome, ('bill',));"
        "step = lambda seq: Step(seq, 10 * seq, 'menu', 'event', {'event': f'е{seq}'});"
        f"{lines};"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == -9


def test_what_a_killed_worker_had_kept_is_taken_in(tmp_path, database):
    """Steps and facts of a call that was never stored are there afterwards, the file is gone."""
    killed(tmp_path, "spool.keep(header(), [step(0)]); spool.keep(header(), [step(1), step(2)])")
    store = Journal(database)
    assert take_in(tmp_path, store) == 1
    call = store.read("call")
    assert call is not None
    assert [each.data["event"] for each in call.steps] == ["е0", "е1", "е2"]
    assert (call.header.caller, call.header.methods) == ("02188776655", ("bill",))
    assert not list(tmp_path.glob("*.steps"))
    assert take_in(tmp_path, store) == 0


def test_long_spools_are_taken_in_a_few_entries_at_a_time(tmp_path, database):
    """Whatever a dead worker carried: nothing is left out between two transactions."""
    lines = "[spool.keep(header(), [step(seq)]) for seq in range(120)]"
    killed(tmp_path, lines)
    store = Journal(database)
    assert take_in(tmp_path, store) == 1
    call = store.read("call")
    assert call is not None
    assert [each.seq for each in call.steps] == list(range(120))


def test_without_a_new_file_the_old_one_grows(tmp_path, database, clock):
    """A full disk or too many open files: what was kept stays kept, and no journal waits for it."""
    folder = tmp_path / "journals"
    spool = Spool(folder)
    spool.keep(header(clock), [step(0)])
    folder.rename(tmp_path / "elsewhere")
    spool.storing()
    spool.stored()
    spool.keep(header(clock), [step(1)])
    spool.leave()
    store = Journal(database)
    take_in(tmp_path / "elsewhere", store)
    call = store.read("call")
    assert call is not None
    assert [each.seq for each in call.steps] == [0, 1]


def test_what_is_there_already_is_added_to_and_not_undone(tmp_path, database, clock):
    """A batch that begins with the same step may be shorter; what a successor has written about
    the call counts more than what the dead worker knew."""
    store = Journal(database)
    end = header(clock, ended_at=clock.now(), outcome="completed", language="ru", methods=("app",))
    store.write(end, [step(0), step(1)])
    killed(tmp_path, "spool.keep(header(language='fa'), [step(0), step(1), step(2), step(3)])")
    take_in(tmp_path, store)
    call = store.read("call")
    assert call is not None
    assert [each.seq for each in call.steps] == [0, 1, 2, 3]
    assert (call.header.outcome, call.header.language) == ("completed", "ru")
    assert call.header.methods == ("app", "bill")


def test_ways_to_pay_of_both_workers_stay(database, clock):
    """A worker that died before its successor could learn what was chosen last: whoever is stored
    first, and however often the successor is stored again, all ways are there, each once."""
    store = Journal(database)
    store.add_all([(header(clock, methods=("app", "read")), [step(0)])])
    for _ in range(2):
        store.write(header(clock, methods=("app", "email"), resumed=True), [step(100_000)])
    call = store.read("call")
    assert call is not None
    assert call.header.methods == ("app", "read", "email")


def test_a_successor_with_the_same_numbers_is_not_lost(database, clock):
    """A worker that died before its first command leaves steps that its successor numbers alike:
    the successor's, which are more, stay."""
    store = Journal(database)
    store.add_all([(header(clock), [step(100_000), step(100_001)])])
    store.write(header(clock), [step(100_000), step(100_001), step(100_002)])
    call = store.read("call")
    assert call is not None
    assert [each.seq for each in call.steps] == [100_000, 100_001, 100_002]


def test_the_files_of_the_living_are_left_alone(tmp_path, database, clock):
    """Another worker's file is locked; it is neither read nor removed."""
    living = Spool(tmp_path)
    living.keep(header(clock), [step(0)])
    assert take_in(tmp_path, Journal(database)) == 0
    assert len(list(tmp_path.glob("*.steps"))) == 1
    living.close()
    assert not list(tmp_path.glob("*.steps"))


def test_an_entry_cut_short_is_left_out(tmp_path, database):
    """Killed within the write: what is whole counts."""
    killed(tmp_path, "spool.keep(header(), [step(0)]); spool.keep(header(), [step(1)])")
    (file,) = tmp_path.glob("*.steps")
    file.write_bytes(file.read_bytes()[:-9])
    store = Journal(database)
    assert take_in(tmp_path, store) == 1
    call = store.read("call")
    assert call is not None
    assert [each.seq for each in call.steps] == [0]


class Away(Journal):
    """A store whose database is away while `away` is set."""

    away = True

    def write_all(self, batches):
        self._refuse()
        super().write_all(batches)

    def add_all(self, batches):
        self._refuse()
        super().add_all(batches)

    def _refuse(self):
        if self.away:
            raise Unavailable("away")


def test_a_database_that_is_away_takes_nothing_from_the_spool(tmp_path, database):
    """The file stays until its steps are in the database."""
    killed(tmp_path, "spool.keep(header(), [step(0)])")
    store = Away(database)
    with pytest.raises(Unavailable):
        take_in(tmp_path, store)
    store.away = False
    assert take_in(tmp_path, store) == 1
    assert store.read("call") is not None


def test_a_writer_leaves_nothing_behind_unless_it_could_not_store(tmp_path, database, clock):
    """Stored steps leave the spool with the round that stored them; the rest stays for the next."""
    store = Away(database)
    store.away = False
    writer = JournalWriter(store, spool_dir=tmp_path)
    call = Call(ScriptedChannel([], call_id="call"), Steps())
    writer.begin(call, clock.now())
    call.journal.event("one")
    writer.keep(call)
    (file,) = tmp_path.glob("*.steps")
    assert file.stat().st_size
    writer._round()
    assert [each.stat().st_size for each in tmp_path.glob("*.steps")] == [0]
    store.away = True
    call.journal.event("two")
    writer.keep(call)
    writer.end(call, clock.now(), "completed", None)
    writer.stop()
    store.away = False
    assert take_in(tmp_path, store) >= 1
    stored = store.read("call")
    assert stored is not None
    assert [each.data["event"] for each in stored.steps] == ["one", "two"]
    assert stored.header.outcome == "completed"
