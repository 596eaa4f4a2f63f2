"""What several tests need: real CT (absent: skipped), and a small trained-looking generator."""

from __future__ import annotations

import os
from pathlib import Path

# tests run in a process per core: threads of their own would only wait for each other
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import tiny

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
LONGEST = ("test_trainer.py", "test_training.py", "test_synthesis.py")


@pytest.fixture(scope="session")
def abdomen() -> Path:
    """The folder of a real abdominal CT with organ masks."""
    folder = DATA / "abdomen_ct"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    return folder


@pytest.fixture(scope="session")
def generator_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny untrained generator, saved."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny.generator(tiny.write_encoder(folder / "encoder")).save(folder / "generator")
    return folder / "generator"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no process is left with one of them at the end."""
    items.sort(key=lambda item: item.path.name not in LONGEST)
