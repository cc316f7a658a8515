"""From a bundle to a certified folder, and from a folder or a URL to a certificate: what the commands do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.files import bundle_identity
from labelwright.bundle.store import load
from labelwright.bundle.types import Bundle
from labelwright.conversion import folder as folders
from labelwright.conversion import targets
from labelwright.conversion.card import card
from labelwright.conversion.certificate import TOLERANCE, Certificate, certify, write_certificate
from labelwright.conversion.rows import Rows
from labelwright.conversion.servers import is_url, open_server, shown_url
from labelwright.data.asked.asking import asking
from labelwright.data.records import Fault, refusal
from labelwright.engines.opening import open_engine
from labelwright.engines.protocol import Engine
from labelwright.engines.settings import EngineSettings
from labelwright.errors import BundleError, DataError
from labelwright.labelling import score_rows

Opened = Callable[[Bundle], Engine]


def opened(bundle: Bundle) -> Engine:
    """The bundle's engine in this process, as `labelwright predict` opens it."""
    settings = EngineSettings(
        long_rows=bundle.long_rows,
        unexpanded_mass=bundle.unexpanded_mass,
        thinking_tokens=bundle.prompt.template.thinking_tokens,
    )
    return open_engine(bundle.weights, settings)


def convert(
    source: Path,
    to: str,
    output: Path,
    rows: Callable[[Bundle], Rows],
    *,
    quantise: str = "",
    tolerance: float = TOLERANCE,
    force: bool = False,
    open_bundle: Opened = opened,
) -> Certificate | None:
    """Write a bundle for another runtime, certify it, and let the folder appear with card and certificate.

    Parameters
    ----------
    source : Path
        The bundle.
    to : str
        A name in ``TARGETS``.
    rows : callable
        From the bundle to the rows to certify on; called before anything is converted.
    force : bool
        Replace a converted folder.
    open_bundle : callable
        Opens the bundle's own engine.

    Returns
    -------
    Certificate or None
        The folder is written even where it does not hold: what a format costs is worth knowing, and the card says it.
        None where only a server can open the folder, which is to be certified by its URL.

    Raises
    ------
    LabelwrightError
        A target, bundle, row or folder that will not do; a target that cannot be opened on this machine. Then nothing
        is written.
    """
    source, output = Path(source).absolute(), Path(output).absolute()
    bundle = load(source)
    targets.check(bundle, to, quantise)
    folders.refuse_taken(output, force=force)
    asked = rows(bundle)
    made: list[Certificate | None] = [None]

    def fill(building: Path) -> None:
        written = targets.fill(bundle, to, building, quantise)
        identity, names = bundle_identity(source), bundle.task.names
        converted = folders.seal(
            folders.Converted(building, to, quantise, bundle.task.name, names, identity, written.settings)
        )
        if not targets.TARGETS[to].needs_server:
            made[0] = certificate = _certified(source, bundle, str(building), asked, tolerance, open_bundle)
            write_certificate(certificate, building / folders.CERTIFICATE)
        (building / folders.CARD).write_text(card(bundle, converted, written, made[0]), encoding="utf-8")

    folders.write(output, fill, force=force)
    return made[0]


def certify_target(
    source: Path,
    target: str,
    rows: Callable[[Bundle], Rows],
    *,
    model: str = "",
    tolerance: float = TOLERANCE,
    open_bundle: Opened = opened,
) -> Certificate:
    """Compare a bundle with a converted folder or a server.

    Parameters
    ----------
    target : str
        A folder, or the URL of a server (``labelwright.conversion.servers``).
    model : str
        Which of a server's models to ask.

    Raises
    ------
    LabelwrightError
        A bundle, target or row that will not do.
    """
    source = Path(source).absolute()
    bundle = load(source)
    if beyond := asking(bundle.task).beyond:
        raise BundleError(f"task {bundle.task.name!r}: {beyond}, which no target takes")
    return _certified(source, bundle, target, rows(bundle), tolerance, open_bundle, model)


def _certified(
    source: Path, bundle: Bundle, target: str, rows: Rows, tolerance: float, open_bundle: Opened, model: str = ""
) -> Certificate:
    about = {"task": bundle.task.name, "bundle": bundle.weights.base, "bundle_sha256": bundle_identity(source)}
    with _runtime(target, bundle, model) as (runtime, of_target):
        engine = open_bundle(bundle)
        return certify(
            rows,
            bundle.task.names,
            lambda texts: _scored(bundle, engine, texts, rows.source),
            runtime.probabilities,
            about | of_target,
            tolerance,
        )


@contextmanager
def _runtime(target: str, bundle: Bundle, model: str) -> Iterator[tuple[targets.Runtime, dict[str, str]]]:
    """What answers for a target, and what the certificate says of it."""
    if is_url(target):
        server = open_server(target, bundle, model)
        runtime: targets.Runtime = server
        about = {"target": shown_url(target), "quantise": "", "target_sha256": "", "model": server.model}
    else:
        converted = folders.read(Path(target).absolute())
        if converted.names != bundle.task.names:
            raise DataError(f"{target}: has other labels than the bundle: it was made of another one; convert again")
        runtime = targets.open_converted(converted)
        identity = converted.identity
        about = {"target": converted.target, "quantise": converted.quantise, "target_sha256": identity, "model": ""}
    try:
        yield runtime, about
    finally:
        runtime.close()


def _scored(bundle: Bundle, engine: Engine, texts: Sequence[str], source: str) -> NDArray[np.float64]:
    """The bundle's probabilities; all rows that it cannot answer are refused at once."""
    found = score_rows(bundle, engine, texts)
    faults = [Fault(n, str(one)) for n, one in enumerate(found, start=1) if isinstance(one, DataError)]
    if faults:
        raise refusal(source, faults)
    return np.array(found, dtype=np.float64)
