"""The bill's picture: what is on it, what can never be, and a barcode that reads back."""

import dataclasses
import os
import re
import struct
import zlib
from datetime import date
from itertools import accumulate, groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.entities import Bill, Line
from billing.premium.bill_section import PremiumSection, SectionRow
from billing.premium.service_names import Named
from jobs.bill_image import BillView, ForkedAfterRendering, render
from jobs.bill_image import printer as printer_module
from jobs.bill_image.view import MOST_SERVICES, PremiumRow
from sounds import LANGUAGES, PhraseError, load_catalogue

VIEW = BillView(
    number="+982188776655",
    kind="fixed",
    first_name="Maryam",
    last_name="Rezaei",
    period=5,
    year=1405,
    amount=129_456,
    lines=(("charges", 128_744), ("carried", 712)),
    paid=0,
    payable=129_000,
    remainder=456,
    bill_id="9174639504124",
    payment_id="12908190",
    due_date=date(2026, 12, 6),
    barcode="91746395041240000012908190",
)
CATALOGUE = load_catalogue()


# --- An independent reader of the barcode: pixels of one row, back to digits. ---

# Values 0-102 of Code 128 as bits, bars 1 (the independent copy is of bits, not of widths).
CODE_BITS = re.findall(
    "[01]{11}",
    """
11011001100 11001101100 11001100110 10010011000 10010001100 10001001100 10011001000 10011000100
10001100100 11001001000 11001000100 11000100100 10110011100 10011011100 10011001110 10111001100
10011101100 10011100110 11001110010 11001011100 11001001110 11011100100 11001110100 11101101110
11101001100 11100101100 11100100110 11101100100 11100110100 11100110010 11011011000 11011000110
11000110110 10100011000 10001011000 10001000110 10110001000 10001101000 10001100010 11010001000
11000101000 11000100010 10110111000 10110001110 10001101110 10111011000 10111000110 10001110110
11101110110 11010001110 11000101110 11011101000 11011100010 11011101110 11101011000 11101000110
11100010110 11101101000 11101100010 11100011010 11101111010 11001000010 11110001010 10100110000
10100001100 10010110000 10010000110 10000101100 10000100110 10110010000 10110000100 10011010000
10011000010 10000110100 10000110010 11000010010 11001010000 11110111010 11000010100 10001111010
10100111100 10010111100 10010011110 10111100100 10011110100 10011110010 11110100100 11110010100
11110010010 11011011110 11011110110 11110110110 10101111000 10100011110 10001011110 10111101000
10111100010 11110101000 11110100010 10111011110 10111101110 11101011110 11110101110
""",
)
START_C, STOP = "11010011100", "1100011101011"


def pixels(png):
    """Width, and the first channel of each row, of an 8-bit PNG (RFC 2083).

    Filters work on each channel apart, so that one channel can be read without the others.
    """
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, data = 8, b""
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", png[at + 8 : at + 18])
        elif kind == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    assert depth == 8
    step = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    raw = zlib.decompress(data)
    stride = width * step + 1
    rows, above = [], [0] * width
    for start in range(0, height * stride, stride):
        above = unfiltered(raw[start], raw[start + 1 : start + stride : step], above)
        rows.append(above)
    return width, rows


def unfiltered(kind, line, above):
    """One row of one channel from its filtered bytes and the row above."""
    if kind == 0:
        return list(line)
    if kind == 1:
        return list(accumulate(line, lambda left, byte: (left + byte) & 255))
    if kind == 2:
        return [(byte + up) & 255 for byte, up in zip(line, above, strict=True)]
    row, left, corner = [], 0, 0
    for byte, up in zip(line, above, strict=True):
        if kind == 3:
            predicted = (left + up) // 2
        else:
            by_left, by_up = abs(up - corner), abs(left - corner)
            by_corner = abs(left + up - 2 * corner)
            if by_left <= by_up and by_left <= by_corner:
                predicted = left
            else:
                predicted = up if by_up <= by_corner else corner
        left, corner = (byte + predicted) & 255, up
        row.append(left)
    return row


def read_barcode(row):
    """The digits of a Code 128 set C barcode in a row of grey levels; None if there is none."""
    runs = [(dark, len(list(group))) for dark, group in groupby(level < 128 for level in row)]
    for first in range(1, len(runs)):
        dark, module2 = runs[first]
        quiet = runs[first - 1]
        if not dark or quiet[0] or module2 % 2 or quiet[1] < 10 * (module2 // 2):
            continue
        module = module2 // 2  # the start symbol begins with a bar of two modules
        bits = "".join(
            ("1" if dark else "0") * round(length / module) for dark, length in runs[first:-1]
        )
        if not bits.startswith(START_C) or STOP not in bits:
            continue
        values, at = [], 11
        while not bits.startswith(STOP, at):
            values.append(CODE_BITS.index(bits[at : at + 11]))
            at += 11
        *data, check = values
        assert check == (105 + sum(n * value for n, value in enumerate(data, 1))) % 103
        after = bits[at + 13 :]
        assert len(after) - len(after.lstrip("0")) >= 10 or not after.strip("0")
        return "".join(f"{value:02d}" for value in data)
    return None


# --- The text of the PDF, glyph by glyph, through the fonts' own ToUnicode tables. ---


def pdf_text(pdf):
    """All text a reader could select in the one-page PDF, in the order it is drawn."""
    objects = {
        int(number): body
        for number, body in re.findall(rb"(?s)(?:^|\n)(\d+) 0 obj\n(.*?)\nendobj", pdf)
    }

    def stream(number):
        raw = re.search(rb"(?s)stream\r?\n(.*?)\r?\nendstream", objects[number]).group(1)
        return zlib.decompress(raw) if b"FlateDecode" in objects[number] else raw

    fonts = {}
    for name, number in re.findall(rb"/(f\d+) (\d+) 0 R", pdf):
        table = int(re.search(rb"/ToUnicode (\d+) 0 R", objects[int(number)]).group(1))
        fonts[name] = {
            glyph.lower(): bytes.fromhex(text.decode()).decode("utf-16-be")
            for glyph, text in re.findall(rb"<([0-9A-Fa-f]{4})> ?<([0-9A-Fa-f]+)>", stream(table))
        }
    page = next(body for body in objects.values() if b"/Type/Page/" in body)
    content = stream(int(re.search(rb"/Contents (\d+) 0 R", page).group(1)))
    text, font = [], {}
    for name, hexes, literal in re.findall(
        rb"(?s)/(f\d+) [\d.]+ Tf|<([0-9A-Fa-f ]+)>|\(((?:[^\\()]|\\.)*)\)", content
    ):
        if name:
            font = fonts[name]
            text.append("\n")
        elif hexes:
            code = hexes.replace(b" ", b"").lower()
            text += [font.get(code[i : i + 4], "") for i in range(0, len(code), 4)]
        else:
            raw = unescape(literal)
            text += [font.get(raw[i : i + 2].hex().encode(), "") for i in range(0, len(raw), 2)]
    return "".join(text)


def unescape(literal):
    """The bytes of a PDF literal string (ISO 32000-1, 7.3.4.2)."""
    named = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}

    def one(match):
        code = match.group(1)
        return bytes([int(code, 8)]) if code.isdigit() else named.get(code, code)

    return re.sub(rb"(?s)\\([0-7]{1,3}|.)", one, literal)


@pytest.mark.parametrize("language", LANGUAGES)
def test_barcode_reads_back(language):
    """In every language the barcode in the PNG reads back to the 26 digits, in many rows."""
    width, rows = pixels(render(VIEW, language, CATALOGUE).png)
    assert 1100 <= width <= 1300
    read = [digits for digits in map(read_barcode, rows) if digits]
    assert set(read) == {VIEW.barcode}
    assert len(read) > 100


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 10**13 - 1), st.integers(1, 10**13 - 1))
def test_any_ids_make_a_readable_barcode(bill_id, payment_id):
    """Whatever the IDs, the barcode reads back to both, padded to 13 digits."""
    view = dataclasses.replace(
        VIEW,
        bill_id=str(bill_id),
        payment_id=str(payment_id),
        barcode=f"{bill_id:013d}{payment_id:013d}",
    )
    _, rows = pixels(render(view, "fa", CATALOGUE).png)
    assert read_barcode(rows[700]) == view.barcode


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_to_be_paid_is_on_the_sheet_however_many_rows_are_above_it(language):
    """Carried here, paid in part, carried on: six rows, the last of them whole and in the brand."""
    view = dataclasses.replace(
        VIEW,
        amount=20_450,
        lines=(("charges", 20_000), ("carried", 450)),
        paid=2_550,
        payable=17_000,
        remainder=900,
    )
    _, rows = pixels(render(view, language, CATALOGUE).png)
    # Just inside the table's start edge, from its top (174 pt) to its end (266 pt).
    edge = 1200 - 52 if language in ("fa", "ar") else 52
    brand = [y for y in range(2 * 174, 2 * 266) if rows[y][edge] == 0x0B]
    assert len(brand) >= 28
    assert brand == list(range(brand[0], brand[0] + len(brand)))


def test_a_remainder_that_the_next_bill_asks_for_already_is_on_the_sheet():
    """Every rial of the bill is paid, to be paid or carried on."""
    bill = Bill(
        1, 1, VIEW.number, "fixed", 5, 1405, 17_450, 4_000, 0,
        VIEW.bill_id, VIEW.payment_id, VIEW.due_date, "open", carried_out=450,
    )  # fmt: skip
    line = Line(1, VIEW.number, "fixed", "fa", None, "", "")
    view = BillView.of(line, bill, names=False)
    assert (view.paid, view.payable, view.remainder) == (4_000, 13_000, 450)
    assert view.paid + view.payable + view.remainder == view.amount


@pytest.mark.parametrize("language", LANGUAGES)
def test_small_enough_for_a_phone(language):
    """A PNG stays below 200 KB and a PDF below 60 KB, also with the longest figures."""
    view = dataclasses.replace(
        VIEW, amount=999_999_999_999, payable=99_999_999_000, paid=1_234_567_890
    )
    image = render(view, language, CATALOGUE, operator="Sample Telecom")
    assert len(image.png) < 200_000
    assert len(image.pdf) < 60_000


def test_same_bill_same_bytes():
    """A job that runs twice makes the very same files."""
    assert render(VIEW, "ar", CATALOGUE) == render(VIEW, "ar", CATALOGUE)


def test_pdf_text_holds_what_is_to_be_paid():
    """The PDF's text can be searched and copied: number, name, sums, due date, the 26 digits."""
    text = pdf_text(render(VIEW, "en", CATALOGUE, operator="Sample Telecom").pdf)
    flat = re.sub(r"\s", "", text)
    for shown in (
        "SampleTelecom", "MaryamRezaei", "02188776655", "129,000", "129,456", "128,744", "712",
        VIEW.bill_id, VIEW.payment_id, VIEW.barcode, "2026",
    ):  # fmt: skip
        assert shown in flat, shown


def test_persian_text_and_numerals():
    """A Persian bill has Persian numerals and a Solar Hijri date; its IDs stay in 0-9."""
    text = re.sub(r"\s", "", pdf_text(render(VIEW, "fa", CATALOGUE).pdf))
    assert "آذر" in text or "رذآ" in text  # drawn from the right
    assert set("۰۱۲۹") <= set(text)
    assert VIEW.bill_id in text
    assert VIEW.payment_id in text


def test_no_field_for_address_or_postal_code():
    """A9: the type holds nothing but this; a further field is a decision, not an accident."""
    assert {field.name for field in dataclasses.fields(BillView)} == {
        "number", "kind", "first_name", "last_name", "period", "year", "amount", "lines", "paid",
        "payable", "remainder", "bill_id", "payment_id", "due_date", "barcode", "premium",
        "withdrawn",
    }  # fmt: skip
    with pytest.raises((AttributeError, TypeError)):
        VIEW.address = "somewhere"


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_long_number_but_those_of_the_bill(language):
    """A9: the page shows no run of digits that could be a postal code or any other number."""
    text = pdf_text(render(VIEW, language, CATALOGUE).pdf)
    plain = text.translate(str.maketrans("۰۱۲۳۴۵۶۷۸۹٠١٢٣٤٥٦٧٨٩", "01234567890123456789"))
    known = (VIEW.barcode, VIEW.bill_id, VIEW.payment_id, "02188776655", "1405", "2026", "2000")
    for run in re.findall(r"\d{4,}", plain):
        assert any(run in number or run in number[::-1] for number in known), run


SECTION = PremiumSection(
    tuple(
        SectionRow(Named(f"90912345{place:02}", "poetry", {"en": f"Poem {place}"}), 2, 90, 1_000)
        for place in range(45)
    ),
    withdrawn=2_000,
)


def test_premium_services_have_their_own_section():
    """D4: their sum among the bill's lines, each service below; the cheapest ones in one row."""
    line = Line(7, "+982188776655", "fixed", "en", None, "Maryam", "Rezaei")
    bill = Bill(
        3, 7, line.number, "fixed", 5, 1405, 129_456 + 2_000, 0, 712,
        VIEW.bill_id, VIEW.payment_id, VIEW.due_date, "open", 2_000,
    )  # fmt: skip
    view = BillView.of(line, bill, names=True, section=SECTION)
    assert view.lines == (("charges", 85_744), ("premium", 45_000), ("carried", 712))
    assert (view.withdrawn, view.remainder) == (2_000, 456)
    assert len(view.premium) == MOST_SERVICES
    assert sum(row.amount for row in view.premium) == SECTION.amount
    assert view.premium[-1] == PremiumRow(None, 12, 540, 6_000)
    picture = render(view, "en", CATALOGUE)
    text = pdf_text(picture.pdf)
    assert "Premium services in detail" in text
    assert "Poem 38" in text
    assert "Poem 39" not in text
    width, rows = pixels(picture.png)
    assert (width, len(rows)) == (1200, 848 + 2 * (44 + 20 * MOST_SERVICES))


def test_what_was_used_is_shown_to_the_lines_own_caller_only():
    """A9: who asks for another line's bill learns the sum, not what was listened to."""
    line = Line(7, "+982188776655", "fixed", "en", None, "Maryam", "Rezaei")
    bill = Bill(
        3, 7, line.number, "fixed", 5, 1405, 129_456, 0, 712,
        VIEW.bill_id, VIEW.payment_id, VIEW.due_date, "open",
    )  # fmt: skip
    view = BillView.of(line, bill, names=False, section=SECTION)
    assert ("premium", 45_000) in view.lines
    assert view.premium == ()


def test_names_only_for_the_lines_own_caller():
    """Asked for from another line, the picture has no name and no empty place for one (A9)."""
    line = Line(7, "+982188776655", "fixed", "en", None, "Maryam", "Rezaei")
    bill = Bill(
        3, 7, line.number, "fixed", 5, 1405, 129_456, 0, 712,
        VIEW.bill_id, VIEW.payment_id, VIEW.due_date, "open",
    )  # fmt: skip
    assert BillView.of(line, bill, names=True) == VIEW
    stranger = BillView.of(line, bill, names=False)
    assert (stranger.first_name, stranger.last_name, stranger.name) == (None, None, None)
    text = pdf_text(render(stranger, "en", CATALOGUE).pdf)
    assert "Maryam" not in text
    assert "Rezaei" not in text


@pytest.mark.parametrize(
    "name",
    [
        '#read("/etc/passwd")',
        "#panic()",
        "] #sys.inputs [",
        "*a* _b_ $x^2$ `c` <d> @e \\u{41} // f /* g",
        '"); #let bill = none',
        '{"lines": []}',
    ],
)
def test_hostile_name_is_only_text(name):
    """Markup and code in a name are printed letter by letter, never run."""
    view = dataclasses.replace(VIEW, first_name=name, last_name=None)
    text = pdf_text(render(view, "en", CATALOGUE).pdf)
    assert re.sub(r"\s", "", name) in re.sub(r"\s", "", text)
    assert "root:" not in text


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=200), st.sampled_from(LANGUAGES))
def test_any_name_can_be_printed(name, language):
    """No name whatsoever stops the picture or moves the barcode."""
    view = dataclasses.replace(VIEW, first_name=name, last_name="م" * 300)
    _, rows = pixels(render(view, language, CATALOGUE, operator=name).png)
    assert read_barcode(rows[700]) == VIEW.barcode


def test_disguising_characters_are_dropped():
    """Direction overrides, line breaks and NUL in a name are gone; Persian joiners stay."""
    shown = printer_module._visible("علی\u202e‌\nx\0 y\u2066\t رضایی\u200cنژاد")
    assert shown == "علی ‌ x y رضایی\u200cنژاد"


@pytest.mark.parametrize(
    ("field", "value"),
    [("bill_id", "12a"), ("payment_id", "۱۲"), ("barcode", "1" * 26), ("barcode", "")],
)
def test_ids_that_do_not_agree_are_refused(field, value):
    """A barcode that pays another bill than the printed IDs cannot be made."""
    with pytest.raises(ValueError, match="digits"):
        dataclasses.replace(VIEW, **{field: value})


def test_unknown_language():
    """A language that the catalogue does not have is a clear error."""
    with pytest.raises(PhraseError, match="de"):
        render(VIEW, "de", CATALOGUE)


def test_rendering_after_a_fork_is_refused(monkeypatch):
    """In a child forked after rendering, typst would hang for ever: an error says so instead."""
    render(VIEW, "en", CATALOGUE)
    child = os.getpid() + 1
    monkeypatch.setattr(printer_module.os, "getpid", lambda: child)
    with pytest.raises(ForkedAfterRendering):
        render(VIEW, "en", CATALOGUE)
