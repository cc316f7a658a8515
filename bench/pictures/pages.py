"""Pages with known values, drawn by chance: a list of headlines, a form, a receipt; and questions alone.

What is drawn is how pages differ in life: words, numbers, ways of writing dates and sums, fonts, sizes, colours, widths
and layouts (a form's captions beside or above its boxes, entries numbered or not). What is there is told exactly as a
schema wants it; what a page does not have is None.
"""

from __future__ import annotations

import html
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

FONTS = ("DejaVu Sans", "Liberation Sans", "Liberation Serif", "DejaVu Serif", "Noto Sans", "Liberation Mono")
_INKS = (("#111", "#fff"), ("#333", "#fafafa"), ("#222", "#f6f6ef"), ("#eee", "#1b1b1f"))
_FIRST = ("Ada", "Bo", "Carla", "Dmitri", "Elif", "Farid", "Grace", "Hana", "Ivan", "Jose", "Keiko", "Lena", "Maria")
_LAST = ("Andersen", "Brown", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Hoffmann", "Ito", "Jansen", "Lopez")
_CITIES = ("Berlin", "Lisbon", "Oslo", "New York", "San Juan", "Osaka", "Ghent", "Tallinn", "Cape Town")
_SUBJECTS = ("Databases", "Small models", "Compilers", "Old laptops", "Spreadsheets", "Passkeys", "Rust macros")
_VERBS = ("are slower than you think", "explained in pictures", "that fit in one file", "and why they lose writes")
_GOODS = ("Coffee beans", "Filter paper", "Oat milk", "Rye bread", "Tomatoes", "Olive oil", "Notebook", "AA batteries")
_TENDERS = ("Cash", "Card", "Voucher")

HEADLINES: dict[str, Any] = {
    "type": "object",
    "properties": {
        "headlines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "title": {"type": "string"},
                    "points": {"type": "integer", "minimum": 0, "x-captions": ["point"]},
                    "comments": {"type": "integer", "minimum": 0, "x-captions": ["comment"]},
                },
            },
        }
    },
}
RECEIPT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "receipt": {"type": "string", "title": "Receipt no", "pattern": "^[A-Z]-[0-9]{5}$"},
        "date": {"type": "string", "format": "date"},
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "item": {"type": "string"},
                    "quantity": {"type": "integer", "title": "Qty"},
                    "price": {"type": "number"},
                },
            },
        },
        "tax": {"type": "number"},
        "total": {"type": "number"},
        "paid_by": {"enum": list(_TENDERS)},
    },
}


@dataclass(frozen=True)
class Shown:
    """A page and what is on it.

    Attributes
    ----------
    values : mapping
        As the schema wants them.
    width, height : int
        Of the window, in pixels.
    """

    kind: str
    page: str
    values: Mapping[str, Any]
    width: int
    height: int


def form_schema(topics: Sequence[str]) -> dict[str, Any]:
    """Of a form with a question, whose topic is one of these."""
    return {
        "type": "object",
        "properties": {
            "full_name": {"type": "string"},
            "born": {"type": "string", "format": "date", "title": "Date of birth"},
            "city": {"type": "string"},
            "guests": {"type": "integer", "minimum": 0, "maximum": 20},
            "budget": {"type": "number", "title": "Budget (EUR)"},
            "member": {"type": "boolean"},
            "topic": {"enum": list(topics), "title": "Your question"},
        },
    }


def headlines(chance: random.Random) -> Shown:
    """Titles with points and comments below; a young one has none yet."""
    found, rows = [], []
    is_numbered = chance.random() < 0.6
    for number in range(1, chance.randint(4, 9)):
        title = f"{chance.choice(_SUBJECTS)} {chance.choice(_VERBS)}"
        if chance.random() < 0.3:
            title = f"Show: {title} ({chance.randint(2009, 2026)})"
        points, comments = chance.randint(1, 900), chance.choice([None, *range(1, 400)])
        found.append({"title": title, "points": points, "comments": comments})
        told = "discuss" if comments is None else f"{comments} comment{'s' * (comments != 1)}"
        by, hours = chance.choice(_FIRST).lower(), chance.randint(2, 22)
        rows.append(
            f"<div class=t>{f'{number}. ' if is_numbered else ''}{html.escape(title)}</div><div class=s>{points} "
            f"point{'s' * (points != 1)} by {by} {hours} hours ago | {told}</div>"
        )
    style = f".t{{margin-top:{chance.randint(5, 12)}px}} .s{{font-size:.8em;opacity:.75}}"
    return _shown(chance, "headlines", style, "<h2>News</h2>" + "".join(rows), {"headlines": found}, 620, 720)


def form(chance: random.Random, question: str, topic: str) -> Shown:
    """A filled form; captions stand beside or above their boxes."""
    born = date(1940, 1, 1) + timedelta(days=chance.randint(0, 25_000))
    values: dict[str, Any] = {
        "full_name": f"{chance.choice(_FIRST)} {chance.choice(_LAST)}",
        "born": born.isoformat(),
        "city": chance.choice(_CITIES),
        "guests": chance.randint(0, 12),
        "budget": round(chance.uniform(20, 4000), 2),
        "member": chance.random() < 0.5,
    }
    cells = [
        ("Full name", values["full_name"]),
        ("Date of birth", _written(born, chance)),
        ("City", values["city"]),
        ("Guests", values["guests"]),
        ("Budget (EUR)", _money(values["budget"], chance)),
        ("Member", "Yes" if values["member"] else "No"),
    ]
    colon, is_above = chance.choice(["", ":"]), chance.random() < 0.4
    boxes = [
        f"<div class=f><label>{caption}{colon}</label><span class=b>{html.escape(str(value))}</span></div>"
        for caption, value in cells
    ]
    asked = f"<div class=f><label>Your question{colon}</label><span class=b>{html.escape(question)}</span></div>"
    beside = "display:inline-block;width:170px;vertical-align:top"
    style = (
        f"label{{{'display:block;margin-bottom:3px' if is_above else beside}}} .f{{margin:{chance.randint(9, 16)}px 0}}"
        f".b{{display:inline-block;border:1px solid #999;padding:4px 8px;width:{chance.randint(230, 320)}px;"
        "box-sizing:border-box}"
    )
    return _shown(
        chance, "form", style, "<h2>Booking</h2>" + "".join([*boxes, asked]), {**values, "topic": topic}, 640, 760
    )


def receipt(chance: random.Random) -> Shown:
    """A shop's receipt: rows of goods below a header, sums below the rows."""
    items: list[dict[str, Any]] = [
        {"item": item, "quantity": chance.randint(1, 6), "price": round(chance.uniform(0.5, 60), 2)}
        for item in chance.sample(_GOODS, chance.randint(2, 6))
    ]
    net = sum(one["quantity"] * one["price"] for one in items)
    day = date(2026, 1, 1) + timedelta(days=chance.randint(0, 320))
    is_comma, sign = chance.random() < 0.3, chance.choice(["", "", "€ ", "$"])
    values: dict[str, Any] = {
        "receipt": f"{chance.choice('ABKRTX')}-{chance.randint(10_000, 99_999)}",
        "date": day.isoformat(),
        "items": items,
        "tax": round(net * 0.19, 2),
        "total": round(net * 1.19, 2),
        "paid_by": chance.choice(_TENDERS),
    }

    def money(amount: float) -> str:
        return sign + (f"{amount:.2f}".replace(".", ",") if is_comma else f"{amount:.2f}")

    rows = "".join(
        f"<tr><td>{one['item']}<td class=n>{one['quantity']}<td class=n>{money(one['price'])}" for one in items
    )
    sums = "".join(
        f"<tr><td>{caption}<td><td class=n>{value}"
        for caption, value in [
            ("Tax", money(values["tax"])),
            ("Total", money(values["total"])),
            ("Paid by", values["paid_by"]),
        ]
    )
    colon = chance.choice(["", ":"])
    page = (
        f"<center><b>Corner Shop</b><br>12 Station Road</center><p>Receipt no{colon} {values['receipt']}<br>"
        f"Date{colon or ':'} {_written(day, chance)}</p>"
        f"<table><tr><th class=l>Item<th class=n>Qty<th class=n>Price{rows}"
        f"<tr><td colspan=3><hr>{sums}</table><center><p>Thank you!</center>"
    )
    style = "table{width:100%;border-collapse:collapse} .n{text-align:right} .l{text-align:left} td,th{padding:3px 6px}"
    return _shown(chance, "receipt", style, page, values, chance.randint(330, 420), 640)


def question(chance: random.Random, text: str) -> Shown:
    """A question alone, as a message on a screen."""
    style = f"p{{line-height:{chance.uniform(1.2, 1.6):.2f}}}"
    return _shown(chance, "question", style, f"<p>{html.escape(text)}</p>", {}, chance.randint(380, 760), 300)


def _shown(
    chance: random.Random, kind: str, style: str, page: str, values: Mapping[str, Any], width: int, height: int
) -> Shown:
    ink, paper = chance.choice(_INKS)
    body = f"font:{chance.randint(13, 19)}px '{chance.choice(FONTS)}';color:{ink};background:{paper}"
    body += f";margin:{chance.randint(12, 30)}px"
    whole = f"<!doctype html><meta charset=utf-8><style>body{{{body}}}{style}</style>{page}"
    return Shown(kind, whole, values, width, height)


_DATES: tuple[Callable[[date], str], ...] = (
    date.isoformat,
    lambda day: f"{day.day} {day:%B} {day.year}",
    lambda day: f"{day:%b} {day.day}, {day.year}",
    lambda day: f"{day:%d.%m.%Y}",
)


def _written(day: date, chance: random.Random) -> str:
    return chance.choice(_DATES)(day)


def _money(amount: float, chance: random.Random) -> str:
    english = f"{amount:,.2f}"
    return chance.choice([english, english.translate(str.maketrans(",.", ".,")), f"{amount:.2f}"])
