"""Other people's text where people see it: on a terminal, in Markdown, in a command to copy.

Rows, labels and what models write come from anywhere. An escape sequence in a row can move a terminal's cursor, rename
its window or hide what is above it; a backtick or a ``$( )`` in a command to copy runs when it is pasted. So text
passes through here on its way out, and nowhere is it shown raw.
"""

from __future__ import annotations

import os
import re
import shlex
import unicodedata
from urllib.parse import quote

# Besides control characters (Unicode's Cc, of which terminals obey C0 and C1), lone surrogates (Cs) and separators of
# lines and paragraphs: marks that turn the direction of what follows, so that a line reads as what it is not
# (CVE-2021-42574).
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
# What a Markdown reader would take for markup in a quoted text; underscores only where they stand at a word's edge.
_MARKUP = re.compile(r"[\\|`*<>\[\]~]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)")
# Variables of the environment that hold what nobody else may see; shorter values are words such as "none".
_SECRET = re.compile(
    r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL)S?\d*(_|$)|(^|_)(PAT|PASS|AUTH)$|_PWD$", re.IGNORECASE
)
# And of these the ones that say where something is.
_PLACE = re.compile(r"_(FILE|PATH|DIR|LAYOUT)$", re.IGNORECASE)
_SHORTEST_SECRET = 6
# A user before an address's host, whose password may hold a slash if what stands before that is no host and port: what
# stands behind an @ in a path is none. Bounded: a long text of addresses is not looked through from each to its end.
_USER = re.compile(r"://(?:[^\s/?#]{0,1000}@|[^\s/?#@:]{0,1000}:(?!\d+[/?#])\S{0,1000}@)")
# At the beginning of a line these make headings, lists, rules and tables of what should be text.
_AT_THE_START = re.compile(r"^(\s*)([#+=-]|\d+(?=[.)]))")


def printable(text: str, keep: str = "") -> str:
    r"""Text in which nothing drives a terminal: what would is written as Python writes it.

    Parameters
    ----------
    keep : str
        Characters that pass all the same, such as a newline.

    Examples
    --------
    >>> print(printable("red \x1b[31m, bell \x07, two\nlines, emoji 👨‍👩‍👧"))
    red \x1b[31m, bell \x07, two\nlines, emoji 👨‍👩‍👧
    """
    return "".join(one if one in keep or not _drives(one) else _spelt(one) for one in text)


def printable_line(text: str) -> str:
    """``printable`` text on one line, whatever white space it holds."""
    return printable(" ".join(text.split()))


def printable_json(line: str) -> str:
    r"""A line of JSON in which nothing drives a terminal, and which still says the same.

    >>> print(printable_json('{"text": "\x9b31m \u202e \x7f"}'))
    {"text": "\u009b31m \u202e \u007f"}
    """
    return "".join(f"\\u{ord(one):04x}" if _drives(one) else one for one in line)


def without_passwords(text: str) -> str:
    """An address, or a text that holds some, without the user and the password in it.

    >>> without_passwords("cannot reach http://me:secret@host:5000")
    'cannot reach http://…@host:5000'
    """
    return _USER.sub("://…@", text)


def without_secrets(text: str, longest: int = 300) -> str:
    """What another program says of an error, as a short printable line: servers repeat the key that they were sent.

    Taken out are users and passwords in addresses, the values of all variables of the environment that are called keys,
    tokens, secrets, passwords or credentials, and each of several that one of them lists, also as an address spells it.
    """
    secrets = {
        spelt
        for name, value in os.environ.items()
        if _SECRET.search(name) and not _PLACE.search(name)
        for one in (value, *re.split(r"[\s,]+", value))
        if len(one) >= _SHORTEST_SECRET and not one.isdecimal()
        for spelt in (one, quote(one, safe=""))
    }
    # One may be a part of another.
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return printable_line(without_passwords(text))[:longest]


def spreadsheet_cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula: with an apostrophe before it, as they mark texts themselves.

    >>> spreadsheet_cell("=1+1"), spreadsheet_cell("a = b")
    ("'=1+1", 'a = b')
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def escaped(text: str, longest: int = 300) -> str:
    r"""Text that Markdown shows as it is: one line, no markup, and no longer than a reader would follow.

    >>> print(escaped("a|b <script> [x](y) snake_case _it_ &lt;"))
    a\|b \<script\> \[x\](y) snake_case \_it\_ \&lt;
    >>> print(escaped("# no heading"), escaped("3. no list"))
    \# no heading 3\. no list
    """
    text = printable_line(text)
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    text = _MARKUP.sub(lambda found: "\\" + found.group(), text)
    # A digit cannot be escaped, what follows it can.
    return _AT_THE_START.sub(lambda at: at[1] + (f"{at[2]}\\" if at[2].isdigit() else f"\\{at[2]}"), text)


def shell_word(text: str) -> str:
    """Text as one word of a POSIX shell's command line, whatever is in it, and printable.

    >>> print(shell_word("costs $50"), shell_word("it's `here`"))
    'costs $50' 'it'"'"'s `here`'
    """
    return shlex.quote(printable(text))


def _drives(character: str) -> bool:
    return character in _TURNING or unicodedata.category(character) in _UNPRINTABLE


def _spelt(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
