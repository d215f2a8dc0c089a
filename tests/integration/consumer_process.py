"""A consumer process for the tests: `consumer_process.py DB_URL REDIS_URL FOLDER LEASE_S QUEUE…`.

Kinds of rows: `text` sends payload["text"] into the sandbox; `text.hang` does so and then hangs
until it is killed (the second attempt does not); `text.wait` waits for the file FOLDER/go first;
`text.http` sends to the gateway payload["url"], which has two seconds;
`fault` raises what payload["raise"] says unless the file FOLDER/mended is there.
"""

import sys
import threading
import time
from pathlib import Path

from billing.clock import SystemClock
from billing.database import Database
from billing.outbox import Job
from gateways.errors import Permanent, Temporary
from gateways.http_sms import HttpSms
from gateways.sms import SandboxSms
from jobs.retrying import Retrying
from jobs.worker import run_consumer

database_url, redis_url, folder, lease_s = sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4]
sandbox = SandboxSms(folder)


def text(job: Job) -> None:
    with (folder / "attempts.txt").open("a") as file:
        file.write(job.payload["text"] + "\n")
    sandbox.send("+989121234567", job.payload["text"], job.key)


def hang(job: Job) -> None:
    text(job)
    if job.attempts == 1:
        (folder / "hanging").touch()
        threading.Event().wait()


def wait(job: Job) -> None:
    (folder / "waiting").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)
    text(job)


def http(job: Job) -> None:
    gateway = HttpSms(job.payload["url"], json={"to": "{to}", "text": "{text}"}, timeout_s=2.0)
    gateway.send("+989121234567", job.payload["text"], job.key)


def fault(job: Job) -> None:
    if not (folder / "mended").exists():
        raise {"permanent": Permanent, "temporary": Temporary, "bug": KeyError}[
            job.payload["raise"]
        ]("no such mobile" if job.payload["raise"] != "bug" else "+989121234567")
    text(job)


print("ready", flush=True)
run_consumer(
    sys.argv[5:],
    database=Database(database_url),
    redis_url=redis_url,
    clock=SystemClock(),
    handlers={
        "text": text,
        "text.hang": hang,
        "text.wait": wait,
        "text.http": http,
        "fault": fault,
    },
    retrying=Retrying(attempts=3, first_s=0.1),
    lease_s=float(lease_s),
)
