"""Interrupting and continuing a training run."""

from __future__ import annotations

import json
import os
import shutil
from datetime import timedelta
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

from .errors import GeneratorError
from .files import full_disk_named, replacing
from .parallel import on_cpu

NAME, RECORD = "checkpoint", "run.json"
# what a run does of which nothing else is recorded
USUAL: dict[str, object] = {"rare_weight": 0.0, "candidates": 1, "also": []}
# what a run may have written before its first checkpoint: logs, caches, half-written files
LEFTOVERS = (
    "autoencoder",
    "diffusion",
    "crops",
    "latents-*",
    "texts-*",
    "trajectories-*",
    "distillation",
    ".partial-*",
    "sheets",  # the autoencoder's
    RECORD,
)


def start_accelerator(out: Path, mixed_precision: str) -> Accelerator:
    """The processes of a run; ``init_trackers(NAME)`` lets it log to ``out / NAME``.

    While one prepares the data of thousands of CT, or looks at held-out tumors, the others wait: longer than torch's
    ten minutes.
    """
    patient = InitProcessGroupKwargs(timeout=timedelta(days=2))
    return Accelerator(
        cpu=on_cpu(),
        mixed_precision=mixed_precision,
        log_with="tensorboard",
        project_dir=str(out),
        kwargs_handlers=[patient],
    )


def save_checkpoint(accelerator: Accelerator, out: Path, step: int) -> None:
    """Write networks, optimizers and the step after which they are; a killed run leaves the previous one whole.

    Raises :class:`GeneratorError` where the disk is full.
    """
    temporary = out / f".partial-{NAME}"
    with full_disk_named(out / NAME):
        try:
            accelerator.save_state(str(temporary))
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        step_file = temporary / "step"
        step_file.write_text(str(step))
        for file in temporary.rglob("*.safetensors"):  # made for their owner alone, whatever the umask
            file.chmod(step_file.stat().st_mode)
        old = out / f".old-{NAME}"
        if (out / NAME).exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(out / NAME, old)
        os.replace(temporary, out / NAME)
        shutil.rmtree(old, ignore_errors=True)
    accelerator.wait_for_everyone()


def load_checkpoint(accelerator: Accelerator, out: Path, steps: int) -> int:
    """Load what :func:`save_checkpoint` wrote; returns the number of steps done.

    ``steps``: of the run. Raises :class:`GeneratorError` where more are done.
    """
    folder = out / NAME if (out / NAME).exists() else out / f".old-{NAME}"  # killed between the two renames
    done = int((folder / "step").read_text())
    if done > steps:
        raise GeneratorError(f"{out}: has been trained for {done} steps already; give --steps {done} or more.")
    accelerator.load_state(str(folder))
    return done


def check_settings(seed: int, mixed_precision: str, **above_zero: float) -> None:
    """Raise :class:`GeneratorError` for numbers that cannot train; ``above_zero``: named as the user gives them."""
    for name, value in above_zero.items():
        if not value > 0:
            raise GeneratorError(f"{name} is {value}; give a number above 0.")
    if not 0 <= seed < 2**32:
        raise GeneratorError(f"seed is {seed}; give a whole number from 0 to {2**32 - 1}.")
    if mixed_precision not in ("no", "fp16", "bf16"):
        raise GeneratorError(f"mixed_precision is {mixed_precision!r}; give no, fp16 or bf16.")


def prepare_out(out: Path, resume: bool, facts: dict[str, Any]) -> bool:
    """Whether to continue from a checkpoint in ``out``; writes or compares the run's ``facts`` in ``run.json``.

    Raises :class:`GeneratorError` rather than overwrite a run or continue it as another one. What a run leaves that
    failed before its first checkpoint is no run.
    """
    started = (out / NAME).exists() or (out / f".old-{NAME}").exists()
    if started and not resume:
        raise GeneratorError(f"{out}: holds a training run; continue it with --resume or give --out a new folder.")
    strangers = [] if started or not out.exists() else [p.name for p in out.iterdir() if not _ours(p.name)]
    if strangers:
        raise GeneratorError(f"{out}: holds {sorted(strangers)[0]}, which is of no run here; give --out a new folder.")
    out.mkdir(parents=True, exist_ok=True)
    record = out / RECORD
    if started and record.is_file():
        before = {**USUAL, **json.loads(record.read_text())}
        for name, value in {**USUAL, **facts}.items():
            if name in before and before[name] != value:  # a run of before the fact was recorded lacks it
                raise GeneratorError(
                    f"{record}: this run began with {name} {before[name]}, not {value}; continue it with the same."
                )
    with replacing(record) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n")
    return started


def _ours(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in LEFTOVERS)
