"""``[model]``: the language model, and where and how it runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

from labelwright.engines.settings import EngineSettings, device_fault
from labelwright.settings import Check, Text, url_fault
from workbench.recipe.tables.fields import Needed


@dataclass(frozen=True)
class ModelTable(EngineSettings):
    """``[model]``: "smollm2", a Hugging Face id or a local folder; the rest is ``EngineSettings``."""

    name: Needed = "smollm2"
    device: Annotated[str, Check(device_fault)] = EngineSettings.device
    url: Annotated[str, Text(), Check(url_fault)] = EngineSettings.url

    @property
    def settings(self) -> EngineSettings:
        """Where and how the model runs."""
        return EngineSettings(**{key: value for key, value in asdict(self).items() if key != "name"})
