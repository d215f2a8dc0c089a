"""The steps of the bare transport, the same for every server: six questions of one digit each.

On a real switch (bench/freeswitch.py) there are five, with recordings that it can play.
"""

import os

QUESTIONS = int(os.environ.get("BENCH_QUESTIONS", "6"))
SOUNDS = os.environ.get("BENCH_SOUNDS", "/var/lib/callflows/sounds")
PROMPT = "file_string://" + "!".join(
    f"{SOUNDS}/fa/menu/{name}.wav"
    for name in ("one_system", "two_sms", "three_app", "four_read", "five_mail", "nine_again")
)
VARIABLE = "choice"
PLACE = {
    "callflows_flow": "bill",
    "callflows_state": "menu",
    "callflows_visits": "3",
    "callflows_language": "fa",
    "callflows_context": '{"line":"+982188776655","own":true,"bill":17}',
    "callflows_phrases": "welcome,bill_summary,payment_menu",
    VARIABLE: "",
}
