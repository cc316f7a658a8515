"""The card of a converted folder: what it is, how it is run, what is not the same, what was certified. Markdown."""

from __future__ import annotations

import json

from labelwright.bundle.types import Bundle
from labelwright.conversion.certificate import Certificate, table
from labelwright.conversion.folder import CERTIFICATE, Converted
from labelwright.conversion.targets import TARGETS, Written
from labelwright.plain_text import escaped


def card(bundle: Bundle, converted: Converted, written: Written, certificate: Certificate | None) -> str:
    """The text of ``README.md``.

    Parameters
    ----------
    certificate : Certificate, optional
        None where the folder can only be certified behind a server.
    """
    labels = [f"{place}. {escaped(name)}" for place, name in enumerate(converted.names)]
    parts = [
        _front_matter(written),
        f"# {escaped(bundle.task.name)}\n\n{_what(bundle, converted)}",
        f"## Use\n\n{written.use.strip()}",
        f"## Certificate\n\n{_certified(certificate)}",
    ]
    if written.differs:
        parts.append("## What is not the same\n\n" + "\n".join(f"- {one}" for one in written.differs))
    parts.append("## Labels\n\nIn the order of every vector of probabilities, counted from 0.\n\n" + "\n".join(labels))
    return "\n\n".join(parts) + "\n"


def _front_matter(written: Written) -> str:
    # JSON strings are YAML strings, so names with colons or quotes stay one value.
    about = {"pipeline_tag": "text-classification", **written.front_matter}
    return "\n".join(["---", *(f"{key}: {json.dumps(value)}" for key, value in about.items()), "---"])


def _what(bundle: Bundle, converted: Converted) -> str:
    quantised = f", numbers in {converted.quantise}" if converted.quantise else ""
    return (
        f"A classifier of texts into {len(converted.names)} labels: the Labelwright bundle `{bundle.weights.base}` "
        f"(`{converted.bundle_sha256[:16]}`), converted with `--to {converted.target}` "
        f"({TARGETS[converted.target].what}){quantised}."
    )


def _certified(certificate: Certificate | None) -> str:
    if certificate is None:
        return "None yet: only a server can open this folder. Start one, then `labelwright certify BUNDLE URL`."
    head, *lines = table(certificate)
    rows = ["| " + " | ".join(line) + " |" for line in (head, ("---",) * 4, *lines)]
    return (
        f"{certificate.verdict[0].upper()}{certificate.verdict[1:]}. Here is the bundle, there is this folder, both on "
        f"{certificate.machine}; intervals are of 95 %. The rows: {escaped(certificate.rows)}. `{CERTIFICATE}` holds "
        f"it all.\n\n" + "\n".join(rows)
    )
