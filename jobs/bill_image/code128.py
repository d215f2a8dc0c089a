"""Code 128, code set C: the bar widths of a string of digits (ISO/IEC 15417).

Iranian bills carry their 26 digits in Code 128: each symbol of set C holds two digits, so the
whole code is 178 modules wide, and its own check symbol guards against a misread digit, which
Interleaved 2 of 5 would let through.
"""

from __future__ import annotations

# Six widths in modules for each symbol: bar, space, bar, space, bar, space. Its place is its value
# (ISO/IEC 15417, table 1); in set C the values 0 to 99 are the pairs of digits "00" to "99".
_SYMBOLS = (
    "212222222122222221121223121322131222122213122312132212221213"
    "221312231212112232122132122231113222123122123221223211221132"
    "221231213212223112312131311222321122321221312212322112322211"
    "212123212321232121111323131123131321112313132113132311211313"
    "231113231311112133112331132131113123113321133121313121211331"
    "231131213113213311213131311123311321331121312113312311332111"
    "314111221411431111111224111422121124121421141122141221112214"
    "112412122114122411142112142211241211221114413111241112134111"
    "111242121142121241114212124112124211411212421112421211212141"
    "214121412121111143111341131141114113114311411113411311113141"
    "114131311141411131211412211214211232"
)
_START_C = 105
_STOP = "2331112"  # the only symbol with seven elements: it ends with a bar
_MODULUS = 103

QUIET_ZONE = 10
"""Modules that must stay blank on either side of the code."""


def bar_widths(digits: str) -> tuple[int, ...]:
    """The widths in modules of bars and spaces by turns, a bar first and last, no quiet zones.

    Raises ValueError when `digits` is empty, of odd length or holds anything but 0-9.
    """
    if not digits or len(digits) % 2 or not (digits.isascii() and digits.isdecimal()):
        raise ValueError(f"Code 128 set C holds pairs of digits 0-9, not {digits!r}")
    values = [int(digits[i : i + 2]) for i in range(0, len(digits), 2)]
    check = (_START_C + sum(place * value for place, value in enumerate(values, 1))) % _MODULUS
    pattern = (
        "".join(_SYMBOLS[6 * value : 6 * value + 6] for value in (_START_C, *values, check)) + _STOP
    )
    return tuple(map(int, pattern))
