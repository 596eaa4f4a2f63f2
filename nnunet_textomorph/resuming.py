"""The folder of a run that may be interrupted and given again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

SETTINGS_NAME = ".settings.json"


def resume_folder(partial: Path, settings: dict[str, Any]) -> None:
    """Make the folder of an unfinished run, or keep it if the settings are the same."""
    path, content = partial / SETTINGS_NAME, json.dumps(settings, indent=1)
    if path.is_file() and path.read_text(encoding="utf-8") == content:
        return
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    path.write_text(content, encoding="utf-8")
