"""From a checkpoint back to what its synthetic tumors came from."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from nnunet_textomorph.generator.folder import CONFIG_NAME, DEFAULT_FOLDER, DISTILLED_NAME, WEIGHTS_NAME
from nnunet_textomorph.generators import is_registered
from nnunet_textomorph.missed import file_digest
from nnunet_textomorph.plan import TextoMorphPlans

INPUTS_NAME = "textomorph_inputs.json"  # beside the checkpoints


def note_inputs(
    folder: Path, trainer: str, epoch: int, plan: TextoMorphPlans, missed: Path | None, synthesis: str
) -> None:
    """Write plan, digests of generator and banks, and versions into ``folder``: one entry per start of training.

    A training that begins anew (``epoch`` 0) begins the list anew, as nnU-Net replaces its checkpoints; one that is
    continued adds to it where its inputs are not the last ones.
    """
    path = folder / INPUTS_NAME
    entries = _entries(path) if epoch else []
    entry = {
        "from_epoch": epoch,
        "trainer": trainer,
        "plan": plan.model_dump(),
        "generator": _generator(plan),
        "bank": _bank(plan),
        "missed": None if missed is None else _file(missed),
        "synthesis": synthesis,
        "versions": {name: version(name) for name in ("nnunet-textomorph", "nnunetv2", "torch")},
    }
    if entries and {**entries[-1], "from_epoch": epoch} == json.loads(json.dumps(entry)):
        return
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    temporary.write_text(json.dumps([*entries, entry], indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return content if isinstance(content, list) else []


def _file(path: Path) -> dict[str, str]:
    return {"file": str(path.absolute()), "sha256": file_digest(path)}


def _bank(plan: TextoMorphPlans) -> dict[str, str]:
    with as_file(files("nnunet_textomorph") / "data" / "descriptions.jsonl") as shipped:
        return _file(Path(plan.bank) if plan.bank else shipped)


def _generator(plan: TextoMorphPlans) -> dict[str, str]:
    if is_registered(plan.generator):
        return {"name": str(plan.generator)}
    folder = Path(plan.generator) if plan.generator else DEFAULT_FOLDER
    written = (folder / name for name in (CONFIG_NAME, WEIGHTS_NAME, DISTILLED_NAME))
    digests = {f"{path.name}_sha256": file_digest(path) for path in written if path.is_file()}
    return {"folder": str(folder.absolute()), **digests}
