"""Other people's text: whatever is in it, it drives no terminal, makes no markup and is one word of a command."""

from __future__ import annotations

import json
import shlex
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labelwright.plain_text import escaped, printable, printable_json, shell_word, without_passwords, without_secrets

CONTROLS = {chr(code) for code in [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F)]}
TEXTS = st.text(st.characters() | st.sampled_from(sorted(CONTROLS)))


@given(TEXTS)
@example("".join(sorted(CONTROLS)))
def test_nothing_printable_drives_a_terminal(text):
    assert not CONTROLS & set(printable(text))
    assert not CONTROLS & set(printable_json(json.dumps(text, ensure_ascii=False)))
    printable(text).encode()  # no half characters either


@given(TEXTS)
def test_json_says_the_same(text):
    assert json.loads(printable_json(json.dumps(text, ensure_ascii=False))) == text


def test_scripts_and_emoji_stay():
    for text in ("नमस्ते", "👨‍👩‍👧 👍🏽", "שלום", "می‌خواهم", "naïve café", "C++ / C#"):
        assert printable(text) == text


@given(TEXTS)
def test_a_quoted_text_is_one_word(text):
    assert shlex.split(shell_word(text)) == [printable(text)]


def test_a_quoted_text_runs_nothing(tmp_path):
    text = f"$(touch {tmp_path}/a) `touch {tmp_path}/b`; touch {tmp_path}/c # ' \" \\ ${{HOME}} !!"
    said = subprocess.run(["sh", "-c", f"printf %s {shell_word(text)}"], capture_output=True, text=True).stdout
    assert said == text
    assert list(tmp_path.iterdir()) == []


def test_markdown_shows_text_as_it_is():
    assert escaped("# a") == "\\# a"
    assert escaped("- a") == "\\- a"
    assert escaped("12. a") == "12\\. a"
    assert escaped("a\n# b") == "a # b"
    assert escaped("![x](javascript:y)") == "!\\[x\\](javascript:y)"
    assert escaped("<img src=x onerror=alert(1)>").startswith("\\<img")
    assert escaped("fish & chips &amp;") == "fish & chips \\&amp;"
    assert escaped("a\x1b[31m") == r"a\\x1b\[31m"


def test_secrets_of_the_environment_are_taken_out(monkeypatch):
    """The longer first, since one may begin with another; words of the environment that are no secrets stay."""
    values = {
        "SOME_API_KEY": "sk-123456", "OTHER_TOKEN": "sk-123456789", "LABELWRIGHT_API_KEYS": "first-key, second-key",
        "TOKENIZERS_PARALLELISM": "parallel", "HF_TOKEN": "none",
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    told = "sk-123456789, sk-123456\nand second-key: \x1b none of parallel"
    assert without_secrets(told) == "***, *** and ***: \\x1b none of parallel"
    assert without_secrets("x" * 290 + " second-key of ours", 300) == "x" * 290 + " *** of ou"


@pytest.mark.parametrize(
    "name",
    [
        "PGPASSWORD",
        "SMTP_PASSWD",
        "GITHUB_PAT",
        "AWS_CREDENTIALS",
        "OPENAIKEY",
        "MYSQL_PWD",
        "my_passphrase",
        "HFTOKENS",
        "DB_PASS",
        "REDIS_AUTH",
        "PASSWORD2",
    ],
)
def test_a_secret_is_known_by_any_name_that_the_field_gives_one(name, monkeypatch):
    monkeypatch.setenv(name, "hunter-two")
    assert without_secrets("no hunter-two here") == "no *** here"


def test_what_is_no_secret_stays(monkeypatch):
    for name in (
        "PATTERN",
        "SOME_PATH",
        "OLDPWD",
        "TOKENIZERS_PARALLELISM",
        "TOKENIZER",
        "KEYBOARD_LAYOUT",
        "KEY_FILE",
    ):
        monkeypatch.setenv(name, "/home/of-all")
    monkeypatch.setenv("MAX_TOKENS", "100000")
    assert without_secrets("in /home/of-all, of 100000 tokens") == "in /home/of-all, of 100000 tokens"


def test_a_secret_is_taken_out_whole_however_an_address_spells_it(monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "p@ss/w0rd-long-tail")
    told = "401 for http://h/v1?key=p@ss/w0rd-long-tail and ?key=p%40ss%2Fw0rd-long-tail"
    assert without_secrets(told) == "401 for http://h/v1?key=*** and ?key=***"
    assert without_secrets("401 for http://me:p@ss/w0rd-long-tail@host/v1") == "401 for http://…@host/v1"


def test_passwords_in_addresses_are_taken_out_wherever_they_stand():
    told = "cannot reach 'http://me:it's@p@host/x?to=a', http://c"
    assert without_secrets(told) == without_passwords(told) == "cannot reach 'http://…@host/x?to=a', http://c"
    assert without_passwords("http://me:a/b@host:1/x http://key@host") == "http://…@host:1/x http://…@host"
    for plain in ("git+https://github.com/org/repo@v1", "http://127.0.0.1:8000/v1/models/org@main", "http://h?to=a@b"):
        assert without_passwords(plain) == plain
