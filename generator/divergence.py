"""Stopping a run whose loss is no number or runs away, before a checkpoint of it replaces a good one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import GeneratorError

SMOOTHED_OVER = 100  # steps
DIVERGED = 10.0  # times the lowest smoothed loss so far


class LossWatch:
    """Looks at the losses of all steps since it looked last; in a checkpoint, so that a resumed run stops like a whole.

    Looking waits for the device, so it is done now and then, and before every checkpoint.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.smoothed, self.lowest, self.seen = 0.0, float("inf"), 0
        self._new: list[Tensor] = []

    def add(self, loss: Tensor) -> None:
        """A step's loss, ()."""
        self._new.append(loss.detach())

    def look(self, step: int) -> None:
        """Raise :class:`GeneratorError` for a loss that is no number or far above what it was; ``step``: the latest."""
        losses = torch.stack(self._new).tolist() if self._new else []
        self._new.clear()
        for at, loss in enumerate(losses, step + 1 - len(losses)):
            if not math.isfinite(loss):
                raise GeneratorError(f"{self.out}: the loss of step {at + 1} is {loss}; {_REMEDY}")
            self.seen += 1
            share = max(1.0 / self.seen, 1.0 / SMOOTHED_OVER)
            self.smoothed += share * (loss - self.smoothed)
            if self.seen < SMOOTHED_OVER:
                continue
            self.lowest = min(self.lowest, self.smoothed)
            if self.smoothed > DIVERGED * self.lowest:
                raise GeneratorError(
                    f"{self.out}: the loss has risen from {self.lowest:.3g} to {self.smoothed:.3g} until step "
                    f"{at + 1}; {_REMEDY}"
                )

    def state_dict(self) -> dict[str, Any]:
        return {"smoothed": self.smoothed, "lowest": self.lowest, "seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.smoothed, self.lowest, self.seen = state["smoothed"], state["lowest"], state["seen"]


_REMEDY = (
    "the last checkpoint, from before, is kept; begin again in a new folder with a lower --learning-rate "
    "(diffusion: --finetune goes on from a generator that this folder holds already)."
)
