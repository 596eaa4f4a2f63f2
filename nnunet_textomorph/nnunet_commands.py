"""nnU-Net's own commands, run in this Python."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

from tqdm import tqdm

from nnunet_textomorph.errors import UserError

TRAIN = "run.run_training:run_training_entry"
PREDICT = "inference.predict_from_raw_data:predict_entry_point"
PREPARE = "experiment_planning.plan_and_preprocess_entrypoints:plan_and_preprocess_entry"


def run_nnunet(entry: str, arguments: Sequence[str], environment: dict[str, str], log: Path) -> None:
    """Run an entry point of nnU-Net in this Python; its output goes to the log, its latest line beside a clock.

    Raises :class:`UserError` with the log's last lines when it fails.
    """
    module, function = entry.split(":")
    # the current folder may be this repository's root, where nnunet_textomorph lies without its parts
    code = f"import sys; sys.path[:] = filter(None, sys.path); from nnunetv2.{module} import {function}; {function}()"
    with log.open("a") as file, tqdm(total=None, bar_format="   {elapsed} {postfix}", leave=False, disable=None) as bar:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments], stdout=file, stderr=subprocess.STDOUT, env=environment
        )
        try:
            while process.poll() is None:
                time.sleep(0.5)
                bar.set_postfix_str(_last_line(log)[:90])
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        tail = " | ".join(_lines(log)[-3:])
        raise UserError(f"nnU-Net's {function} ended with an error ({tail}); the whole of its output is in {log}.")


def trainer_folder() -> dict[str, str]:
    """In an editable install nothing lies where nnU-Net looks for trainers; then it has to be told."""
    import nnunetv2

    installed = Path(nnunetv2.__file__).parent / "training" / "nnUNetTrainer" / "variants" / "textomorph"
    beside = Path(__file__).parents[1] / "trainers"
    if installed.is_dir() or not beside.is_dir():
        return {}
    given = os.environ.get("nnUNet_extTrainer", "")  # noqa: SIM112  # nnU-Net's own spelling
    folders = [folder for folder in given.split(os.pathsep) if folder]
    return {"nnUNet_extTrainer": os.pathsep.join(dict.fromkeys([*folders, str(beside)]))}


def find_trainer(name: str) -> type | None:
    """The class that nnU-Net finds for a trainer's name, as its commands do; None where it finds none."""
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    before = os.environ.copy()
    os.environ.update(trainer_folder())
    try:
        with redirect_stdout(io.StringIO()):  # it tells where it looks
            found: type = recursive_find_trainer_class_by_name(name)
    except (RuntimeError, AssertionError):  # none of that name, or one that is no trainer
        return None
    finally:
        os.environ.clear()
        os.environ.update(before)
    return found


def default_device() -> str:
    """What nnU-Net's -device gets when nobody says."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _lines(log: Path) -> list[str]:
    return [line.strip() for line in re.split(r"[\n\r]", log.read_text(errors="replace")) if line.strip()]


def _last_line(log: Path) -> str:
    return next(iter(_lines(log)[-1:]), "")
