"""Stopping a run whose loss is no number or runs away, before a checkpoint of it replaces a good one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import GeneratorError

SMOOTHED_OVER = 100  # steps
SETTLED = 10  # steps, after which the mean so far is a measure of what follows
DIVERGED = 10.0  # times the lowest smoothed loss since then
SHOT_UP = 1000.0  # times the lowest since the first step: a single small batch's loss may be a hundredth of another's


class LossWatch:
    """Looks at the losses of all steps since it looked last; in a checkpoint, so that a resumed run stops like a whole.

    Looking waits for the device, so it is done now and then, and before every checkpoint. ``mean``: of losses (N,) over
    the processes, which all look at once: one that stopped alone would leave the others waiting.
    """

    def __init__(self, out: Path, mean: Callable[[Tensor], Tensor]) -> None:
        self.out, self.mean = out, mean
        self.smoothed, self.first, self.lowest, self.seen = 0.0, float("inf"), float("inf"), 0
        self._new: list[Tensor] = []

    def add(self, loss: Tensor) -> None:
        """A step's loss, ()."""
        self._new.append(loss.detach())

    def look(self, step: int) -> None:
        """Raise :class:`GeneratorError` for a loss that is no number or far above what it was; ``step``: the latest."""
        losses = self.mean(torch.stack(self._new)).tolist() if self._new else []
        self._new.clear()
        for at, loss in enumerate(losses, step + 1 - len(losses)):
            if not math.isfinite(loss):
                raise GeneratorError(f"{self.out}: the loss of step {at + 1} is {loss}; {_REMEDY}")
            self.seen += 1
            share = max(1.0 / self.seen, 1.0 / SMOOTHED_OVER)
            self.smoothed += share * (loss - self.smoothed)
            self.first = min(self.first, self.smoothed)
            if self.seen >= SETTLED:
                self.lowest = min(self.lowest, self.smoothed)
            for lowest, limit in ((self.first, SHOT_UP), (self.lowest, DIVERGED)):
                if self.smoothed > limit * lowest:
                    raise GeneratorError(
                        f"{self.out}: the loss has risen from {lowest:.3g} to {self.smoothed:.3g} until step {at + 1}; "
                        f"{_REMEDY}"
                    )

    def state_dict(self) -> dict[str, Any]:
        return {"smoothed": self.smoothed, "first": self.first, "lowest": self.lowest, "seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.smoothed, self.lowest, self.seen = state["smoothed"], state["lowest"], state["seen"]
        self.first = state.get("first", self.lowest)  # checkpoints of before lack it


def watched_loss(loss: Tensor, norm: Tensor | None, mixed_precision: str) -> Tensor:
    """A step's loss, (), as no number where the norm of its gradient is none: the weights are spoilt by then.

    Half precision of 5 bits' exponent (fp16) overflows now and then, and such a step is left out.
    """
    return loss if norm is None or mixed_precision == "fp16" else loss + 0.0 * norm


_REMEDY = (
    "the last checkpoint is kept; begin again in a new folder with a lower --learning-rate "
    "(diffusion: --finetune goes on from a generator that this folder holds already)."
)
