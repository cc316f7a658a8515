"""The run's bundle for another runtime, certified on dev: whoever compares number formats by it never looks at test."""

from __future__ import annotations

from pathlib import Path

from labelwright.conversion.certificate import Certificate
from labelwright.conversion.commands import show
from labelwright.conversion.converting import convert
from labelwright.conversion.folder import CERTIFICATE
from labelwright.conversion.rows import of_examples
from labelwright.errors import RecipeError
from workbench.export import exported
from workbench.run.session import Session
from workbench.tracking import entries


def convert_bundle(session: Session, to: str, quantise: str, force: bool) -> tuple[Path, Certificate | None]:
    """Write it beside the run's ``bundle/``, show the certificate and record it; returns both.

    Raises
    ------
    RecipeError
        If the run has no bundle yet.
    LabelwrightError
        As ``labelwright.conversion.converting.convert``.
    """
    bundle = session.folder.path / "bundle"
    if exported(session.folder) is None:
        raise RecipeError(f"run {session.folder.path} has no bundle yet: write it with `make export`")
    name = to + (f"-{quantise}" if quantise else "")
    folder = bundle.with_name(f"bundle-{name}")
    certificate = convert(
        bundle,
        to,
        folder,
        lambda loaded: of_examples(session.splits.dev, loaded.task.names, "dev"),
        quantise=quantise,
        force=force,
        open_bundle=lambda loaded: session.engines(loaded.weights),
    )
    if certificate is None:
        return folder, None
    show(certificate)
    session.tracking.write(entries.artifact(entries.PARENT, folder / CERTIFICATE, f"conversion/{name}"))
    numbers = {
        f"conversion.{name}.agreement": certificate.agreement.value,
        f"conversion.{name}.max_difference": certificate.max_difference,
        f"conversion.{name}.mean_total_variation": certificate.mean_total_variation,
    }
    for one in entries.metrics(entries.PARENT, numbers):
        session.tracking.write(one)
    return folder, certificate
