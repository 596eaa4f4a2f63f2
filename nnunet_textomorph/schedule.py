"""Trainers of a chosen length: ``<trainer>_<N>epochs_<M>iterations`` is any nnU-Net trainer with that schedule.

nnU-Net itself has such names for a few numbers of epochs of its default trainer only. As the schedule is in the name,
it is in the name of the results' folder too, so that runs of different lengths never mix, and nnU-Net's own commands
(``nnUNetv2_train``, ``nnUNetv2_predict``) take it like any other trainer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

NAMED = re.compile(r"(?P<base>\w+?)_(?P<epochs>[1-9]\d*)epochs?_(?P<iterations>[1-9]\d*)iterations?")
EPOCHS, ITERATIONS = 1000, 250  # nnU-Net's own
VALIDATION_SHARE = 5  # nnU-Net's ratio of training to validation iterations per epoch


def scheduled_name(trainer: str, epochs: int | None, iterations: int | None) -> str:
    """The name of a trainer with another schedule; itself where neither number is given."""
    if epochs is None and iterations is None:
        return trainer
    return f"{trainer}_{epochs or EPOCHS}epochs_{iterations or ITERATIONS}iterations"


@cache
def scheduled_trainer(name: str, module: str) -> type:
    """The class that a name asks for, as of ``module``. ``AttributeError`` where it is no such name.

    Looks the trainer's own class up as nnU-Net does, hence also in ``nnUNet_extTrainer``.
    """
    found = NAMED.fullmatch(name)
    if not found:
        raise AttributeError(name)
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    base: Any = recursive_find_trainer_class_by_name(found["base"])
    epochs, iterations = int(found["epochs"]), int(found["iterations"])

    def initialize(self: Any) -> None:
        self.num_epochs, self.num_iterations_per_epoch = epochs, iterations
        self.num_val_iterations_per_epoch = max(1, iterations // VALIDATION_SHARE)
        self.save_every = max(1, min(self.save_every, epochs // 10))  # a short run is worth continuing too
        base.initialize(self)

    own = {
        "initialize": initialize,
        "textomorph_epochs": epochs,  # what TextoMorph's trainers take instead of their plan's schedule
        "textomorph_iterations": iterations,
        "__module__": module,
    }
    return type(name, (base,), own)


def trainer_of_length(name: str, trainers: Iterable[type], module: str) -> type:
    """A subclass called ``name`` of one of ``trainers``; ``AttributeError`` where the name is none of theirs."""
    known = {trainer.__name__: trainer for trainer in trainers}
    found = re.fullmatch(r"(\w+)_([1-9]\d*)epochs?", name)
    if not found or found[1] not in known:
        raise AttributeError(name)
    return type(name, (known[found[1]],), {"textomorph_epochs": int(found[2]), "__module__": module})
