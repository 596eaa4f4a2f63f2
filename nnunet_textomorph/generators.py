"""Generators by name or folder: the shipped one, one's own, and other ways of making tumors.

Another package adds one by an entry point of the group ``nnunet_textomorph.generators``: its name is what
``--generator`` takes, and its object is called with a device ("cpu" ...) and returns an :class:`AnyGenerator`.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from nnunet_textomorph.generator import Generator

if TYPE_CHECKING:
    import torch

    from nnunet_textomorph.generator.config import GeneratorConfig
    from nnunet_textomorph.generator.implant import TumorGenerator

    class AnyGenerator(TumorGenerator, Protocol):
        """What ``--generator`` needs: a :class:`TumorGenerator`, its defaults, and what tells its versions apart."""

        @property
        def config(self) -> GeneratorConfig: ...
        @property
        def weights_hash(self) -> str: ...


GROUP = "nnunet_textomorph.generators"
TRAINER = "nnUNetTrainerTextoMorphGenerator_"  # and the name: who puts in that generator's random tumors


def load_generator(reference: str | Path | None, device: str | torch.device = "cpu") -> AnyGenerator:
    """The generator of a registered name or a folder; None for the shipped one.

    Raises :class:`GeneratorError` for a folder that cannot be loaded.
    """
    entry = _registered().get(str(reference))
    if entry is not None:
        made: AnyGenerator = entry.load()(device)
        return made
    return Generator.load(reference, device)


def is_registered(reference: str | Path | None) -> bool:
    """Whether it is the name of a generator, and no folder."""
    return str(reference) in _registered()


def registered_names() -> list[str]:
    """The names that ``--generator`` takes."""
    return sorted(_registered())


def generator_reference(reference: str | Path | None, relative_to: Path | None = None) -> str | None:
    """What to write down: a registered name as it is, a folder by its whole path (``relative_to`` a folder)."""
    if reference is None or is_registered(reference):
        return None if reference is None else str(reference)
    return str(((relative_to or Path()) / reference).resolve())


@cache
def _registered() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
