"""Databases for tests: each test gets a fresh, migrated one, on SQLite and on PostgreSQL.

PostgreSQL is a throw-away server, started once per test process (so once per pytest-xdist worker)
where its binaries are installed, on a Unix socket of its own; without them those tests are skipped
with the reason. A fresh database is a copy of a migrated one on either, which takes milliseconds.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import hypothesis
import psycopg
import pytest

from billing.clock import FixedClock
from billing.database import Database
from billing.desk import Desk
from billing.importing import import_bills, import_lines
from billing.links import Links
from sounds.build import build

# A shared or slow machine must not fail a property by its clock.
hypothesis.settings.register_profile("callflows", deadline=None)
hypothesis.settings.load_profile("callflows")

START = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
"""Where every test's clock stands at first: 11:30 in Tehran, 1405/08/30."""

_counter = itertools.count(1)


@pytest.fixture
def clock() -> FixedClock:
    """A clock that stands still at START until a test moves it."""
    return FixedClock(START)


@pytest.fixture(scope="session")
def sounds_dir() -> Path:
    """All recordings; kept between runs, since only what has changed is built again."""
    folder = Path(__file__).parents[1] / "var" / "test-sounds"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        build(folder)
    return folder


class PostgresServer:
    """A PostgreSQL server under a temporary folder."""

    def __init__(self, binaries: Path, folder: Path, account: pwd.struct_passwd | None) -> None:
        """Run ``binaries`` in ``folder``, as ``account`` if we are root (which it refuses)."""
        self._binaries = binaries
        self._folder = folder
        self._account = account

    def start(self) -> None:
        """Create the cluster and start it; durability is off, for these data nobody mourns."""
        if self._account is not None:
            os.chown(self._folder, self._account.pw_uid, self._account.pw_gid)
        data = str(self._folder / "data")
        self._run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N")
        options = (
            f"-k {self._folder} -c listen_addresses='' -c fsync=off -c full_page_writes=off"
            " -c synchronous_commit=off -c max_connections=100 -c deadlock_timeout=100ms"
        )
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", data, "-l", log, "-o", options, "-w", "-t", "60", "start")

    def stop(self) -> None:
        """Stop at once."""
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "stop")

    def url(self, name: str) -> str:
        """Return the URL of one of its databases."""
        return f"postgresql://postgres@/{name}?host={self._folder}"

    def execute(self, statement: str) -> None:
        """Run a statement outside any transaction."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _run(self, program: str, *arguments: str) -> None:
        identity = {}
        if self._account is not None:
            identity = {
                "user": self._account.pw_uid,
                "group": self._account.pw_gid,
                "extra_groups": [],
            }
        done = subprocess.run(
            [str(self._binaries / program), *arguments],
            cwd=self._folder,
            # Into a file: the server keeps the descriptor open, a pipe would never end.
            stdout=(self._folder / f"{program}.out").open("ab"),
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            check=False,
            **identity,
        )
        if done.returncode:
            raise RuntimeError((self._folder / f"{program}.out").read_text())


def _postgres_binaries() -> Path | None:
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(installed, key=lambda folder: int(folder.parent.name), reverse=True)
    for folder in folders:
        if (folder / "initdb").is_file() and (folder / "pg_ctl").is_file():
            return folder
    return None


def _unprivileged() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("PostgreSQL refuses to run as root, and there is no account postgres or nobody")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running PostgreSQL server of this test process's own."""
    binaries = _postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's initdb and pg_ctl are not installed: nothing ran on PostgreSQL")
    # Not under pytest's folder, which the server's account may not enter; the socket's path
    # must be short, too.
    folder = Path(tempfile.mkdtemp(prefix="callflows-pg-"))
    server = PostgresServer(binaries, folder, _unprivileged())
    try:
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> str:
    """The name of a migrated PostgreSQL database, to be copied."""
    postgres_server.execute("CREATE DATABASE migrated")
    database = Database(postgres_server.url("migrated"))
    database.migrate()
    database.close()
    return "migrated"


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a migrated SQLite database, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Which kind of database the test runs on: both, one after the other."""
    return str(request.param)


@pytest.fixture
def empty_database_url(
    database_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[str]:
    """The URL of a database without any table."""
    if database_kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = f"empty_{next(_counter)}"
    server.execute(f"CREATE DATABASE {name}")
    yield server.url(name)
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(
    database_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[str]:
    """The URL of a fresh, migrated database."""
    if database_kind == "sqlite":
        path = tmp_path / "test.db"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
        yield f"sqlite:///{path}"
        return
    template = request.getfixturevalue("migrated_postgres")
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = f"test_{next(_counter)}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    yield server.url(name)
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def open_database(database_url: str) -> Iterator[Callable[..., Database]]:
    """Opens `database_url` with options of one's own; what it opened is closed at the end."""
    opened: list[Database] = []

    def open_one(**options: float) -> Database:
        opened.append(Database(database_url, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield open_one
    for database in opened:
        database.close()


@pytest.fixture
def database(open_database: Callable[..., Database]) -> Database:
    """A fresh, migrated database; it waits longer than a caller would, for busy test machines."""
    return open_database(deadline=20.0, pool_size=20)


@pytest.fixture
def in_threads() -> Callable[[list[Callable[[], object]]], list[object]]:
    """Runs functions in as many threads at the same moment; returns the results in order.

    An exception is returned in its place, so that a test can say which ones may be there.
    """

    def run(functions: list[Callable[[], object]]) -> list[object]:
        barrier = threading.Barrier(len(functions))
        results: list[object] = [None] * len(functions)

        def one(place: int, function: Callable[[], object]) -> None:
            barrier.wait(timeout=30)
            try:
                results[place] = function()
            except Exception as error:
                results[place] = error

        threads = [
            threading.Thread(target=one, args=(place, function), daemon=True)
            for place, function in enumerate(functions)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
            assert not thread.is_alive()
        return results

    return run


LINES_HEADER = "number,kind,first_name,last_name,language,mobile,email,address,postal_code"
BILLS_HEADER = "number,period,year,amount,bill_id,payment_id,due_date"


@pytest.fixture
def load(database: Database, clock: FixedClock) -> Callable[..., None]:
    """Loads CSV rows (without header) of lines and bills; all of them have to be good."""

    def load_rows(lines: list[str], bills: list[str]) -> None:
        loaded = import_lines(database, [LINES_HEADER, *lines])
        assert loaded.rejected == []
        loaded = import_bills(database, [BILLS_HEADER, *bills], now=clock.now())
        assert loaded.rejected == []

    return load_rows


@pytest.fixture
def links() -> Links:
    """Links under a secret of the tests'."""
    return Links(b"a secret only for tests")


@pytest.fixture
def desk(database: Database, clock: FixedClock, links: Links, load: Callable[..., None]) -> Desk:
    """A desk with two lines: a fixed one (a mobile known, a bill of 17,450) and a mobile one."""
    load(
        [
            "02188776655,fixed,Ali,Rezaei,fa,09121111111,ali@example.ir,Hidden Street 7,1234567890",
            "09123456789,mobile,Sara,Karimi,en,,,Hidden Alley 9,9876543210",
        ],
        [
            "02188776655,8,1405,17450,,,1405/09/15",
            "09123456789,8,1405,129000,,,1405/09/20",
        ],
    )
    return Desk(database, clock, links=links)
