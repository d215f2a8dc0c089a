"""How many bill images a core makes a second: prints one number. Run as a process of its own."""

from __future__ import annotations

import sys
import time
from datetime import date

from billing.bill_ids import compute_bill_id, compute_payment_id
from billing.entities import Bill, Line
from jobs.bill_image import BillView, render
from sounds import Catalogue, load_catalogue


def view(serial: int) -> BillView:
    """A bill unlike all others, so that nothing set before can be used again."""
    number, amount = f"+98218{serial:07d}", 129_000 + 1000 * serial
    bill_id = compute_bill_id(number, "fixed")
    line = Line(serial, number, "fixed", "fa", None, "Maryam", f"Rezaei {serial}")
    bill = Bill(
        id=serial,
        line_id=line.id,
        number=number,
        kind="fixed",
        period=5,
        year=1405,
        amount=amount,
        paid=0,
        carried=712,
        bill_id=bill_id,
        payment_id=compute_payment_id(bill_id, amount, 1405, 5),
        due_date=date(2026, 12, 6),
        status="open",
    )
    return BillView.of(line, bill, names=True)


def images_a_second(count: int, catalogue: Catalogue) -> float:
    """PNG and PDF of `count` bills in each language, by CPU seconds of all threads together."""
    for language in catalogue.languages:  # loads the fonts
        render(view(0), language, catalogue)
    begun = time.process_time()
    for serial in range(1, count + 1):
        for language in catalogue.languages:
            image = render(view(serial), language, catalogue)
            assert image.png.startswith(b"\x89PNG")
            assert image.pdf.startswith(b"%PDF")
    return count * len(catalogue.languages) / (time.process_time() - begun)


if __name__ == "__main__":
    print(images_a_second(int(sys.argv[1]), load_catalogue()), flush=True)
