"""A PostgreSQL server of the benchmark's own, as durable as it is in production."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from bench.process import BenchError


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl; None where there is no PostgreSQL."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(versions, key=lambda folder: int(folder.parent.name), reverse=True)
    return next((folder for folder in folders if (folder / "pg_ctl").is_file()), None)


class Postgres:
    """A server under a folder, on a socket there; fsync and synchronous_commit are on."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        # The server refuses to run as root.
        self._account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None

    @property
    def url(self) -> str:
        """The URL of its database."""
        return f"postgresql://postgres@/postgres?host={self._folder}"

    def start(self) -> None:
        """Create the cluster and start it. Raises BenchError with what it has said."""
        self._folder.mkdir()
        # Its account must get through to it.
        self._folder.parent.chmod(0o755)
        if self._account is not None:
            os.chown(self._folder, self._account.pw_uid, self._account.pw_gid)
        data = str(self._folder / "data")
        self._run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8")
        options = f"-k {self._folder} -c listen_addresses=''"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", data, "-l", log, "-o", options, "-w", "-t", "60", "start")

    def stop(self) -> None:
        """Stop at once."""
        data = str(self._folder / "data")
        if Path(data, "postmaster.pid").exists():
            self._run("pg_ctl", "-D", data, "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        identity = {}
        if self._account is not None:
            user, group = self._account.pw_uid, self._account.pw_gid
            identity = {"user": user, "group": group, "extra_groups": []}
        output = self._folder / f"{program}.out"
        # Into a file: the server keeps the descriptor open, a pipe would never end.
        with output.open("ab") as kept:
            done = subprocess.run(
                [str(self._programs / program), *arguments],
                cwd=self._folder,
                stdout=kept,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC"},
                check=False,
                **identity,
            )
        if done.returncode:
            raise BenchError(f"{program}: {output.read_text()[-2000:]}")
