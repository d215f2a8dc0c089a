"""`callflows demo`: the whole house in under a minute."""

from __future__ import annotations

import csv
import email
import email.policy
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click

from callflows.config import LANGUAGES, PREFIX

FOLDER = Path("var/demo")
SAMPLE = Path("conf/sample")
# Fast enough for forty calls, slow enough for a digit timer to be long beside a database write.
SPEED = 200.0
# How long the queues may need for the last message.
PATIENCE_S = 40.0
# The order matters: a bill that is paid by key 1 is not open any more.
METHODS = {
    "4": "read out",
    "2": "bill by SMS",
    "3": "app links",
    "5": "image by e-mail",
    "1": "payment system",
}
MAILBOX = "subscriber@example.com"


@dataclass(frozen=True)
class Line:
    """A line of the sample: its number as dialled, kind, language, where its SMS go."""

    number: str
    kind: str
    language: str
    mobile: str


@dataclass
class Tally:
    """What happened, for the summary; `wrong` is what should not have."""

    calls: list[dict[str, Any]] = field(default_factory=list)
    paid: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@click.command()
@click.option(
    "--speed",
    type=click.FloatRange(1, 500),
    default=SPEED,
    show_default=True,
    help="How much faster than real time the calls play.",
)
def command(speed: float) -> None:
    """Start all parts, place forty calls, settle the bills in all five ways.

    A fixed and a mobile line in each of four languages call the payment number once for each way
    to pay; each call is told as it happens. Two more call a premium-rate service: one accepts its
    price, the other does not. Left in var/demo/: the SMSs, the e-mails with the bill
    images, the images, a summary. Exit code 0 if everything came out as it should.

    \b
    Example:
      callflows demo
    """
    began = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)

    from cli.main import settings_of

    # The recordings are those that everybody here uses; all else is the demo's own.
    os.environ.update(_environment(settings_of().sounds_dir))

    from cli import demo_premium
    from cli.parts import Parts
    from cli.run import Supervisor

    settings = settings_of()
    parts = Parts(settings)
    lines = _lines()
    _import(parts)
    tally = Tally()
    with ExitStack() as stack:
        log = stack.enter_context((FOLDER / "log.jsonl").open("wb"))
        click.echo("Starting Redis, worker, relay, consumers and pages ...")
        supervisor = stack.enter_context(
            Supervisor(
                settings,
                parts=("worker", "relay", "jobs", "web"),
                log_file=log.fileno(),
                quiet=True,
            )
        )
        supervisor.start()
        supervisor.wait_until_ready()
        _place_calls(parts, lines, speed, tally)
        number = demo_premium.publish(parts)
        callers = [line.number for line in lines if line.language in ("fa", "en")]
        tally.wrong += demo_premium.place_calls(parts, number, callers[::2])
        _drain(parts, tally)
    _leave(parts, tally)
    _summary(parts, tally, time.monotonic() - began)
    if tally.wrong:
        raise SystemExit(1)


def _environment(sounds_dir: Path) -> dict[str, str]:
    """The settings of the demo: a folder and ports of its own, and room for forty calls an hour."""
    ports = iter(_free_ports(2))
    web = f"127.0.0.1:{next(ports)}"
    given = {
        "state_dir": str(FOLDER / "state"),
        "sounds_dir": str(sounds_dir),
        "database_url": f"sqlite:///{FOLDER / 'state' / 'callflows.db'}",
        "worker_listen": f"127.0.0.1:{next(ports)}",
        "web_listen": web,
        "public_url": f"http://{web}",
        "sms_per_destination_hour": "20",
        "sms_per_destination_day": "20",
        # No call record comes from the embedded switch: nothing to wait for.
        "premium_cdr_wait_s": "0",
        "log_format": "json",
    }
    return {f"{PREFIX}{name.upper()}": value for name, value in given.items()}


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _lines() -> list[Line]:
    """A fixed and a mobile line with an open bill in each language, from the sample."""
    try:
        with (SAMPLE / "bills.csv").open(encoding="utf-8-sig", newline="") as file:
            billed = [row["number"] for row in csv.DictReader(file)]
        with (SAMPLE / "lines.csv").open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise click.ClickException(f"{error}; start the demo in the project's folder") from error
    chosen = []
    for language in LANGUAGES:
        for kind in ("fixed", "mobile"):
            row = next(
                row
                for row in rows
                if (row["language"], row["kind"]) == (language, kind)
                and billed.count(row["number"]) == 1
            )
            mobile = row["number"] if kind == "mobile" else row["mobile"]
            chosen.append(Line(row["number"], kind, language, mobile))
    return chosen


def _import(parts: Any) -> None:
    from billing.importing import import_bills, import_lines

    for load, name in ((import_lines, "lines"), (import_bills, "bills")):
        report = load(parts.database, SAMPLE / f"{name}.csv")
        click.echo(f"{name}: {report.loaded} loaded from {SAMPLE / name}.csv")


def _until(true: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _place_calls(parts: Any, lines: list[Line], speed: float, tally: Tally) -> None:
    from cli import embedded
    from cli.transcript import Narrator, told

    total = len(lines) * len(METHODS)
    calls = ((line, key) for line in lines for key in METHODS)
    with embedded.switch(parts, speed) as switch:
        for number, (line, key) in enumerate(calls, start=1):
            title = f"{line.kind} line {line.number} ({line.language}): {key} {METHODS[key]}"
            click.echo(click.style(f"\n[{number}/{total}] {title}", bold=True))
            narrator = Narrator(_answers(line, key), parts.catalogue, prefix="  ")
            channel = switch.call("2000", line.number, caller=narrator)
            channel.join()
            steps = [told(step, parts.catalogue) for step in narrator.transcript]
            tally.calls.append({"call": channel.uuid, "title": title, "steps": steps})
            if narrator.unused:
                tally.wrong.append(f"{title}: was not asked for {narrator.unused}")
            if key == "5":
                _answer_email(parts, line, tally)
            if key == "1":
                _pay(parts, line, channel.variables.get("arrived"), tally)


def _answers(line: Line, key: str) -> list[str]:
    """What is pressed: the way to pay, a mobile number where it is asked for, and the end."""
    if key == "1":
        return ["1"]
    if key == "4":
        return ["4", "1", "", "3"]
    if line.kind == "mobile":
        return [key, "3"]
    return [key, f"{line.mobile}#", "1", "3"]


def _pay(parts: Any, line: Line, arrived: str | None, tally: Tally) -> None:
    """Be the payment system: the caller has arrived and pays; report it as that system does."""
    from billing.numbers import parse_number

    expected = parts.services.numbers.payment(line.kind)
    if arrived != expected:
        tally.wrong.append(f"{line.number}: was to arrive at {expected}, arrived at {arrived}")
        return
    (bill,) = parts.desk.opening(parse_number(line.number)).open_bills
    now = parts.clock.now()
    report = {
        "reference": f"demo-{bill.bill_id}-{bill.payment_id}",
        "bill_id": bill.bill_id,
        "payment_id": bill.payment_id,
        "amount": bill.payable,
        "channel": "transfer",
        "paid_at": now.isoformat(),
    }
    _post(parts, "/payments", "payment_key", report)
    click.echo(f"  payment system at {arrived}: {bill.payable:,} rials paid and reported")
    tally.paid.append(line.number)


def _post(parts: Any, path: str, key: str, report: Mapping[str, Any]) -> None:
    import requests

    from cli.processes import keys_of
    from web.signing import signed_headers

    body = json.dumps(report).encode()
    headers = signed_headers(keys_of(parts.settings, key)[0], body, parts.clock.now())
    answer = requests.post(
        parts.settings.public_url + path,
        data=body,
        headers={**headers, "Content-Type": "application/json"},
        timeout=10,
    )
    answer.raise_for_status()


def _answer_email(parts: Any, line: Line, tally: Tally) -> None:
    """Be the subscriber: answer the SMS with an address, or open its link and type one.

    Waits for the mail, because a bill that is paid before gets no image any more.
    """
    import requests

    from billing.numbers import parse_number

    mobile = parse_number(line.mobile)
    _until(partial(_link_to, parts, mobile), PATIENCE_S)
    link = _link_to(parts, mobile)
    if link is None:
        tally.wrong.append(f"{line.number}: no SMS with a link came")
        return
    before = len(list(_index(parts.mail_folder)))
    if line.kind == "mobile":
        page = requests.get(link, timeout=10)
        requests.post(link, data={"address": MAILBOX}, timeout=10).raise_for_status()
        (FOLDER / f"page-{line.language}.html").write_text(page.text)
        click.echo("  the subscriber opened the link and typed an e-mail address")
    else:
        now = parts.clock.now().isoformat()
        name = f"demo-{line.number}"
        report = {"id": name, "from": mobile, "text": MAILBOX, "received_at": now}
        _post(parts, "/sms/inbound", "sms_inbound_key", report)
        click.echo("  the subscriber answered the SMS with an e-mail address")
    if not _until(lambda: len(list(_index(parts.mail_folder))) > before, PATIENCE_S):
        tally.wrong.append(f"{line.number}: no mail came")


def _link_to(parts: Any, mobile: str) -> str | None:
    """The newest link that this mobile got by SMS."""
    links = [
        word
        for record in _index(parts.sms_folder)
        if record["to"] == mobile
        for word in record["text"].replace("\u2066", " ").replace("\u2069", " ").split()
        if word.startswith(parts.settings.public_url + "/e/")
    ]
    return links[-1].rstrip(".,،؛") if links else None


def _index(folder: Path) -> Iterator[dict[str, Any]]:
    file = folder / "messages.jsonl"
    if file.exists():
        yield from map(json.loads, file.read_text().splitlines())


def _drain(parts: Any, tally: Tally) -> None:
    """Wait until every queue is empty."""
    from billing import outbox

    def depths() -> dict[outbox.Queue, outbox.Depth]:
        return outbox.depths(parts.database, parts.clock.now())

    click.echo("Waiting for the queues ...")
    if not _until(lambda: not any(depth.pending for depth in depths().values()), PATIENCE_S):
        tally.wrong.append(f"the queues are not empty after {PATIENCE_S:.0f} s: {depths()}")
    for name, depth in depths().items():
        if depth.failed:
            tally.wrong.append(f"queue {name}: {depth.failed} jobs failed")


def _leave(parts: Any, tally: Tally) -> None:
    """Copy what a person wants to look at to the top of the folder."""
    for name, folder in (("sms", parts.sms_folder), ("mail", parts.mail_folder)):
        if folder.exists():
            shutil.copytree(folder, FOLDER / name, ignore=shutil.ignore_patterns(".*"))
    images = FOLDER / "images"
    images.mkdir()
    for file in sorted((FOLDER / "mail").glob("*.eml")):
        message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
        for part in message.iter_attachments():
            name = part.get_filename() or "attachment"
            content = part.get_payload(decode=True)
            if isinstance(content, bytes):
                (images / f"{file.stem}-{Path(name).name}").write_bytes(content)
    (FOLDER / "calls.json").write_text(
        json.dumps(tally.calls, ensure_ascii=False, indent=1), encoding="utf-8"
    )


def _summary(parts: Any, tally: Tally, seconds: float) -> None:
    """Check what came out against what was asked for, print it and write it down."""
    from billing import ledger, reports

    today = parts.clock.now().astimezone(parts.settings.zone).date()
    texts = list(_index(parts.sms_folder))
    mails = list((FOLDER / "mail").glob("*.eml"))
    images = list((FOLDER / "images").glob("*.png"))
    half = len(tally.calls) // len(METHODS)
    found = {
        "calls": (len(tally.calls), half * len(METHODS)),
        "bills paid": (len(tally.paid), half),
        "e-mails": (len(mails), half),
        "bill images": (len(images), half),
    }
    for what, (count, expected) in found.items():
        if count != expected:
            tally.wrong.append(f"{what}: {count}, expected {expected}")
    with parts.database.read() as conn:
        differences = ledger.audit(conn)
    if differences:
        tally.wrong.append(f"the ledger does not balance: {differences}")
    text = [
        "# What the demo did",
        "",
        *(f"* {what}: {count}" for what, (count, _) in found.items()),
        f"* SMS: {len(texts)}",
        "* ledger: every balance rebuilt from its entries, no difference",
        "",
        "Figures of the day:",
        "",
        json.dumps(
            reports.daily(parts.database, today, parts.settings.timezone),
            indent=2,
            ensure_ascii=False,
            default=str,
        ),
        "",
        *(["What is wrong:", "", *(f"* {wrong}" for wrong in tally.wrong)] if tally.wrong else []),
    ]
    (FOLDER / "summary.md").write_text("\n".join(text), encoding="utf-8")
    click.echo(
        f"\n{len(tally.calls)} calls, {len(texts)} SMS, {len(mails)} e-mails with "
        f"{len(images)} bill images, {len(tally.paid)} bills paid; {seconds:.0f} s"
    )
    for name in ("sms", "mail", "images", "calls.json", "summary.md", "log.jsonl"):
        click.echo(f"  {FOLDER / name}")
    for wrong in tally.wrong:
        click.echo(click.style(f"WRONG: {wrong}", fg="red"), err=True)
