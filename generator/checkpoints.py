"""Interrupting and continuing a training run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from accelerate import Accelerator

from .errors import GeneratorError

NAME = "checkpoint"


def save_checkpoint(accelerator: Accelerator, out: Path, step: int) -> None:
    """Write networks, optimizers and the step after which they are; a killed run leaves the previous one whole."""
    temporary = out / f".partial-{NAME}"
    accelerator.save_state(str(temporary))
    if accelerator.is_main_process:
        (temporary / "step").write_text(str(step))
        old = out / f".old-{NAME}"
        shutil.rmtree(old, ignore_errors=True)
        if (out / NAME).exists():
            os.replace(out / NAME, old)
        os.replace(temporary, out / NAME)
        shutil.rmtree(old, ignore_errors=True)
    accelerator.wait_for_everyone()


def load_checkpoint(accelerator: Accelerator, out: Path) -> int:
    """Load what :func:`save_checkpoint` wrote; returns the number of steps done."""
    folder = out / NAME if (out / NAME).exists() else out / f".old-{NAME}"  # killed between the two renames
    accelerator.load_state(str(folder))
    return int((folder / "step").read_text())


def prepare_out(out: Path, resume: bool) -> bool:
    """Whether to continue from a checkpoint in ``out``. Raises :class:`GeneratorError` rather than overwrite a run."""
    started = (out / NAME).exists() or (out / f".old-{NAME}").exists()
    if started and not resume:
        raise GeneratorError(f"{out}: holds a training run; continue it with --resume or give --out a new folder.")
    if not started and out.exists() and any(out.iterdir()) and not resume:
        raise GeneratorError(f"{out}: is not empty; give --out a new folder.")
    out.mkdir(parents=True, exist_ok=True)
    return started
