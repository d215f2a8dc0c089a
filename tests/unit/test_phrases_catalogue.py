"""The phrase catalogue: complete, consistent, and clear about mistakes."""

from __future__ import annotations

import datetime
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sounds import (
    LANGUAGES,
    Catalogue,
    CatalogueError,
    Phrase,
    PhraseError,
    Recording,
    RecordingError,
    load_catalogue,
    written,
)
from sounds.catalogue import MAX_RECORDINGS

CATALOGUE = load_catalogue()
GREATEST = 999_999_999_999
# The most that each slot type can make a prompt grow to.
WORST: dict[str, Any] = {
    "amount": 899_999_999_999,
    "count": 899_999_999_999,
    "digits": "1234567890123",
    "id": "1234567890123",
    "phone": "+982188776655",
    "date": datetime.date(2026, 12, 5),
    "time": datetime.time(23, 59),
    "key": "#",
    "period": 99,
    "year": 1449,
    "text": "سارا",
    "recording": Recording("services/9091234567/1/fa/name.wav", "فال حافظ"),
}


def worst(key: str) -> Phrase:
    """A phrase with the longest value in every slot."""
    return Phrase(key, **{name: WORST[kind] for name, kind in CATALOGUE.slots(key).items()})


every_phrase = pytest.mark.parametrize("key", CATALOGUE.keys)
every_spoken = pytest.mark.parametrize("key", CATALOGUE.spoken_keys)
every_language = pytest.mark.parametrize("language", LANGUAGES)


@every_spoken
@every_language
def test_every_recording_is_in_the_script_and_has_a_text(key: str, language: str) -> None:
    """A phrase can ask only for recordings that the studio's script lists, and for silences.

    What its slots hold besides is a recording of its own.
    """
    script = {line.key for line in CATALOGUE.script(language)}
    for name in CATALOGUE.recordings(worst(key), language):
        if name == WORST["recording"].name:
            continue
        assert name.startswith("silence/") or name in script
        assert bool(CATALOGUE.text_of(name)) != name.startswith("silence/")


@every_spoken
@every_language
def test_prompt_fits_the_switch(key: str, language: str) -> None:
    """No phrase takes more recordings than fit in one file_string (128), whatever its values."""
    assert len(CATALOGUE.recordings(worst(key), language)) < MAX_RECORDINGS


@every_language
def test_script_is_complete_and_safe(language: str) -> None:
    """Names are safe in a file_string; each line has text and context; few enough for a studio."""
    script = CATALOGUE.script(language)
    assert len(script) < 900
    assert len({line.key for line in script}) == len(script)
    for line in script:
        assert re.fullmatch(rf"{language}/[a-z0-9_-]+/[a-z0-9_-]+\.wav", line.key)
        assert line.text.strip()
        assert line.context.strip()
    for name in CATALOGUE.needed(language):
        assert re.fullmatch(r"[a-z0-9_/.-]+", name)


@every_phrase
@every_language
def test_written_text_is_clean(key: str, language: str) -> None:
    """What is shown has no template signs, no speaker's marks, no foreign numerals or spaces."""
    text = CATALOGUE.text(worst(key), language)
    assert text == text.strip()
    assert not re.search(r"[{}\[\]]", text)
    assert "  " not in text
    assert not re.search("[\u064e-\u0652\u0670\u0301]", text)
    if "name@example.com" not in text:
        foreign = "[A-Za-zа-яА-Я]" if language in ("fa", "ar") else "[\u0600-\u06ff]"
        without_slots = text.replace("سارا", "").replace("فال حافظ", "")
        assert not re.search(foreign, without_slots)
    ids = re.findall(r"[0-9]{13}", text)
    kinds = list(CATALOGUE.slots(key).values())
    assert len(ids) == kinds.count("id") + kinds.count("digits")


@every_language
def test_bill_by_sms_takes_two_parts_at_most(language: str) -> None:
    """An SMS with a bill of usual size fits in two parts (67 UCS-2 characters each; A5)."""
    phrase = Phrase(
        "sms_bill",
        number="+982188776655",
        first_name="Masoumeh",
        last_name="Ahmadi",
        amount=1_290_000,
        bill_id="9174639504124",
        payment_id="12908190",
        due=datetime.date(2026, 12, 5),
    )
    assert len(CATALOGUE.text(phrase, language)) <= (306 if language == "en" else 134)


@every_language
def test_sms_about_a_paid_bill_takes_two_parts_at_most(language: str) -> None:
    """Who asked for a bill and gets the news that it is paid is not sent more than the bill."""
    phrase = Phrase("sms_bill_paid", number="+982188776655", period=8, year=1405, amount=1_290_000)
    assert len(CATALOGUE.text(phrase, language)) <= (160 if language == "en" else 134)


def test_english_sms_stays_in_gsm_7() -> None:
    """English texts hold only characters of the GSM alphabet, so that a part takes 160."""
    for key in CATALOGUE.keys:
        if key.startswith("sms_"):
            text = CATALOGUE.text(worst(key), "en").replace("سارا", "")
            assert text.isascii()


def test_written_phrase_has_no_recordings() -> None:
    """An SMS text cannot be played: the error names it."""
    with pytest.raises(PhraseError, match="page_title is a written text"):
        CATALOGUE.recordings(Phrase("page_title"), "fa")


def test_phrase_can_carry_its_own_language() -> None:
    """In the language menu each language speaks for itself, whatever the call's language."""
    phrase = Phrase("language_option", key="2")
    arabic = phrase.spoken_in("ar")
    assert CATALOGUE.text(arabic, "fa") == CATALOGUE.text(phrase, "ar")
    assert CATALOGUE.recordings(arabic, "fa")[0].startswith("ar/")
    assert phrase.language is None


def test_phrase_is_an_immutable_value() -> None:
    """Phrases compare by content, can be keys, survive pickling, and cannot be changed."""
    phrase = Phrase("bill_part_paid", paid=1, amount=2)
    assert phrase == Phrase("bill_part_paid", amount=2, paid=1)
    assert phrase != phrase.spoken_in("ar")
    assert len({phrase, Phrase("bill_part_paid", paid=1, amount=2)}) == 1
    assert pickle.loads(pickle.dumps(phrase.spoken_in("ru"))) == phrase.spoken_in("ru")
    assert "paid=1" in repr(phrase)
    with pytest.raises(AttributeError):
        phrase.key = "other"
    with pytest.raises(TypeError):
        phrase.slots["paid"] = 5  # type: ignore[index]


@pytest.mark.parametrize(
    ("phrase", "language", "message"),
    [
        (Phrase("no_such"), "fa", "no phrase 'no_such'"),
        (Phrase("goodbye"), "de", "no language 'de'"),
        (Phrase("goodbye", name=1), "fa", "goodbye: its slots are none; given: name"),
        (Phrase("line_unknown"), "fa", "line_unknown: its slots are number; given: none"),
        (Phrase("language_option", key="12"), "fa", r"slot key \(key\)"),
        (Phrase("line_unknown", number="1; rm"), "fa", "not a telephone number"),
        (Phrase("line_unknown", number=2188776655), "fa", "wrong type for phone"),
    ],
)
def test_phrase_that_does_not_fit_is_named(phrase: Phrase, language: str, message: str) -> None:
    """A wrong key, language or slot is an error that says which, for voice and for text alike."""
    for render in (CATALOGUE.recordings, CATALOGUE.text):
        with pytest.raises(PhraseError, match=message):
            render(phrase, language)


def test_error_keeps_the_telephone_number_to_itself() -> None:
    """Errors are logged: a number that cannot be said does not stand in them."""
    with pytest.raises(PhraseError) as caught:
        CATALOGUE.text(Phrase("line_unknown", number="09123456789x"), "fa")
    assert "0912" not in str(caught.value)


def test_unknown_recording_has_no_text() -> None:
    """A file name that no phrase uses is an error."""
    with pytest.raises(RecordingError, match=r"fa/none/1\.wav"):
        CATALOGUE.text_of("fa/none/1.wav")


def test_missing_names_what_is_not_there(tmp_path: Path) -> None:
    """In an empty folder everything is missing; what is put there is not."""
    assert set(CATALOGUE.missing(tmp_path, "ru")) == set(CATALOGUE.needed("ru"))
    (tmp_path / "silence").mkdir()
    (tmp_path / "silence/0300.wav").touch()
    assert "silence/0300.wav" not in CATALOGUE.missing(tmp_path, "ru")


# -- the data files -----------------------------------------------------------------------------

GOOD = """
written_only: false
phrases:
  greeting:
    context: A greeting.
    slots: {sum: amount}
    fa: جمع {sum}
    ar: المجموع {sum}
    ru: Сумма {sum}
    en: The sum is {sum}. Thank you.
"""


def catalogue_of(folder: Path, text: str) -> Catalogue:
    (folder / "area.yaml").write_text(text, encoding="utf-8")
    return load_catalogue(folder)


def test_catalogue_loads_from_any_folder(tmp_path: Path) -> None:
    """A good file gives its phrases: fixed words in pieces, a pause after each sentence."""
    catalogue = catalogue_of(tmp_path, GOOD)
    assert catalogue.recordings(Phrase("greeting", sum=2), "en") == (
        "en/greeting/1.wav",
        "en/number/2.wav",
        "en/noun/rial-s.wav",
        "silence/0300.wav",
        "en/greeting/2.wav",
        "silence/0300.wav",
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ru: Сумма {sum}", "ru: Сумма", "area.yaml: greeting, ru: slot sum is not in the text"),
        ("جمع {sum}", "جمع {sum} {due}", "area.yaml: greeting, fa: unknown slot due"),
        ("    ar: المجموع {sum}\n", "", "area.yaml: greeting: no text in ar"),
        ("{sum: amount}", "{sum: money}", "area.yaml: greeting: slot sum has unknown type 'money'"),
        ("{sum: amount}", "{sum: text}", "slot sum of type text cannot be spoken"),
        ("context: A greeting.", "context:", "area.yaml: greeting: no context note"),
        ("Thank you.", "Thank {you.", r"area.yaml: greeting, en: stray '\{'"),
        ("Thank you.", "[555] Thank you.", "greeting, en: no silence of 555 ms"),
        ("{sum}. Thank", "{sum:week}. Thank", "greeting, en: no recordings of the noun week"),
        ("{sum}. Thank", "{sum:cow}. Thank", "greeting, en: no written forms of the noun cow"),
        ("    fa:", "    de: Summe {sum}\n    fa:", "area.yaml: greeting: unknown entries de"),
        ("  greeting:", "  number:", "'number' cannot be a phrase key"),
        ("  greeting:", "  Greeting:", "'Greeting' cannot be a phrase key"),
        ("written_only: false\n", "", "needs exactly the entries written_only and phrases"),
        ("ru: Сумма {sum}", "ru: {written: 'Сумма {sum}'}", "ru: needs spoken and written"),
        ("phrases:", "phrases: [", "area.yaml: "),
    ],
)
def test_mistake_in_the_data_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str
) -> None:
    """Each mistake in a data file is an error that names file, phrase and language."""
    # A noun that can be written and not be said.
    monkeypatch.setitem(written._NOUNS["en"], "week", ("week", "weeks"))
    assert old in GOOD
    with pytest.raises(CatalogueError, match=message):
        catalogue_of(tmp_path, GOOD.replace(old, new))


def test_same_key_in_two_files_is_refused(tmp_path: Path) -> None:
    """A phrase has one home."""
    (tmp_path / "other.yaml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(CatalogueError, match=r"greeting is also in area\.yaml"):
        catalogue_of(tmp_path, GOOD)


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    """A wrong folder is noticed at once."""
    with pytest.raises(CatalogueError, match="no phrase files"):
        load_catalogue(tmp_path)


@pytest.mark.parametrize(
    ("marked", "shown"),
    [
        ("هٰذِهِ مَرَّةً أُخرى", "هذه مرة أخرى"),
        ("شُكرًا، رِيالًا، بِناءً", "شكرًا، ريالًا، بناءً"),
        ("لطفاً عددِ", "لطفاً عدد"),
        ("за\u0301мок", "замок"),
    ],
)
def test_marks_for_the_speaker_are_not_shown(marked: str, shown: str) -> None:
    """Vowels and stress help the speaker; what is shown is spelled as people spell."""
    assert written.plain(marked) == shown


# -- right to left ------------------------------------------------------------------------------


def test_reference_is_framed_in_right_to_left_texts() -> None:
    """A reference such as 9-TRX keeps its order in Persian; alone in English it needs no mark."""
    phrase = Phrase(
        "sms_payment_full", amount=5, number="+989123456789", reference="9-TRX", balance=0
    )
    assert CATALOGUE.text(phrase, "fa").endswith("\u200e9-TRX\u200e")
    assert CATALOGUE.text(phrase, "en").endswith("Reference: 9-TRX")


def test_link_stands_alone_on_its_line() -> None:
    """A web address is a line of its own without any invisible mark that a tap could take along."""
    url = "https://pay.example/e/abc"
    phrase = Phrase("sms_email_link", number="+982188776655", url=url, hours=24)
    for language in LANGUAGES:
        assert CATALOGUE.text(phrase, language).splitlines()[-1] == url


@given(st.text(max_size=60))
def test_foreign_text_cannot_break_a_message(name: str) -> None:
    """A name with line breaks or direction overrides stays one line and changes nothing else."""
    phrase = Phrase(
        "sms_bill",
        number="+982188776655",
        first_name=name,
        last_name="x",
        amount=1,
        bill_id="1",
        payment_id="2",
        due=datetime.date(2026, 1, 1),
    )
    text = CATALOGUE.text(phrase, "fa")
    assert text.count("\n") == 5
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x09\x0b-\x1f]", text)
