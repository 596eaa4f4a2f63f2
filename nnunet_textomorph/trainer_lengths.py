"""Trainers of any number of epochs, named as nnU-Net names them: ``nnUNetTrainerTextoMorphTargeted_250epochs``."""

from __future__ import annotations

import re
from collections.abc import Iterable


def trainer_of_length(name: str, trainers: Iterable[type], module: str) -> type:
    """A subclass called ``name`` of one of ``trainers``; ``AttributeError`` where the name is none of theirs."""
    known = {trainer.__name__: trainer for trainer in trainers}
    found = re.fullmatch(r"(\w+)_([1-9]\d*)epochs?", name)
    if not found or found[1] not in known:
        raise AttributeError(name)
    return type(name, (known[found[1]],), {"textomorph_epochs": int(found[2]), "__module__": module})
