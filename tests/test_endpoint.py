"""The openai engine against an endpoint that misbehaves: nothing lost, nothing paid twice, nothing wrong accepted."""

from __future__ import annotations

import email.utils
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_endpoint import Endpoint, Reply, completion, error, faithful, lesions_of, question
from test_report_files import read, run, write

from nnunet_textomorph.llm_reports import corpus
from nnunet_textomorph.llm_reports.extraction import read_description

SIZES = range(11, 19)
KEY = "sk-a-secret-that-stays"
PRIVATE = "Patient: John Doe, MRN 00482913. Seen by Dr. Okonkwo on 03/12/2021. "


def report(size: int) -> str:
    return f"{PRIVATE}FINDINGS: Hypodense mass in segment 6 of the liver, {size} mm, with ill-defined margins."


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "in.jsonl", [{"id": size, "report": report(size)} for size in SIZES])


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint(faithful).running() as running:
        yield running


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def extract(endpoint: Endpoint, source: Path, *more: object, out: str = "out.jsonl") -> tuple[int, str]:
    return run("extract", source, source.parent / out, "--engine", "openai", "--model", "m", "--base-url", endpoint.url,
               "--concurrency", 1, *more)  # fmt: skip


def sizes(path: Path) -> list[Any]:
    return [(line["descriptors"] or {}).get("size_mm") for line in read(path)]


def assert_all_read(path: Path) -> None:
    assert sizes(path) == list(SIZES)
    assert not [check for line in read(path) for check in line["checks"]]


def test_a_faithful_model_gives_what_the_offline_engine_gives(endpoint: Endpoint, source: Path) -> None:
    code, output = extract(endpoint, source)
    assert code == 0, output
    run("extract", source, source.parent / "offline.jsonl")
    assert read(source.parent / "out.jsonl") == read(source.parent / "offline.jsonl")
    assert f"{len(SIZES)} requests" in output
    assert f"{100 * len(SIZES)} tokens in" in output
    wanted = endpoint.sent[0]["response_format"]
    assert wanted["type"] == "json_schema"
    assert wanted["json_schema"]["strict"] is True


def test_no_identity_and_no_key_goes_out_or_is_kept(endpoint: Endpoint, source: Path) -> None:
    _, output = extract(endpoint, source)
    assert endpoint.authorization == {f"Bearer {KEY}"}
    kept = (source.parent / "out.jsonl.answers").read_bytes().decode("latin-1")
    for place in (*endpoint.raw, kept, output):
        for private in ("John", "Doe", "00482913", "Okonkwo", "03/12/2021", KEY):
            assert private not in place
    assert read(source.parent / "out.jsonl")[0]["report"] == report(SIZES[0])


def test_without_deidentification_reports_go_out_as_they_are(endpoint: Endpoint, source: Path) -> None:
    _, output = extract(endpoint, source, "--no-deidentify")
    assert "John Doe" in endpoint.raw[0]
    assert "WARNING" not in output  # this machine


# Faults of the connection


def once(fault: Reply) -> Any:
    """A fault at the first request, faithful answers from then on."""
    return lambda body, number: fault if number == 1 else faithful(body, number)


@pytest.mark.parametrize(
    "fault",
    [
        error(429, Retry_After="0.1"),
        error(500),
        error(503),
        Reply(200, "{}", cut=0),
        Reply(200, faithful({"messages": [{"role": "user", "content": report(11)}]}, 1).body, cut=40),
        Reply(200, "{}", wait=3.0),
    ],
    ids=["429", "500", "503", "dropped", "truncated", "timeout"],
)
def test_a_passing_fault_is_overcome(fault: Reply, endpoint: Endpoint, source: Path) -> None:
    endpoint.behaviour = once(fault)
    code, output = extract(endpoint, source, "--timeout", 1.5)
    assert code == 0, output
    assert_all_read(source.parent / "out.jsonl")
    assert len(endpoint.sent) == len(SIZES) + 1


@pytest.mark.parametrize(
    ("wait", "least"),
    [("2", 1.9), (lambda: email.utils.formatdate(time.time() + 4, usegmt=True), 2.5)],
    ids=["seconds", "date"],
)
def test_retry_after_is_waited_for(wait: Any, least: float, endpoint: Endpoint, source: Path) -> None:
    asked = wait if isinstance(wait, str) else wait()
    endpoint.behaviour = once(error(429, Retry_After=asked))
    assert extract(endpoint, source)[0] == 0
    assert endpoint.times[1] - endpoint.times[0] >= least  # without it the first wait is half a second


def test_an_endpoint_that_stays_away_ends_the_run_and_nothing_is_lost(endpoint: Endpoint, source: Path) -> None:
    endpoint.behaviour = lambda body, number: faithful(body, number) if number <= 3 else error(500)
    code, output = extract(endpoint, source, "--retries", 1)
    assert code == 2
    assert "status 500" in output
    assert "run the same command again" in output
    assert "Traceback" not in output
    assert not (source.parent / "out.jsonl").exists()
    assert len(read(source.parent / ".partial-out.jsonl")) <= 3

    asked = len(endpoint.sent)
    endpoint.behaviour = faithful
    code, output = extract(endpoint, source)
    assert code == 0, output
    assert "3 more answered from disk" in output
    assert len(endpoint.sent) - asked == len(SIZES) - 3
    assert_all_read(source.parent / "out.jsonl")


@pytest.mark.parametrize(("status", "said"), [(401, "status 401"), (404, "status 404"), (307, "status 307")])
def test_a_refusal_is_one_sentence(status: int, said: str, endpoint: Endpoint, source: Path) -> None:
    with Endpoint(faithful).running() as other:
        endpoint.behaviour = lambda body, number: error(status, Location=f"{other.url}/chat/completions")
        code, output = extract(endpoint, source, "--retries", 0)
        assert (code, said in output) == (2, True), output
        assert not other.raw  # nothing follows a redirection


def test_nobody_listens(source: Path) -> None:
    with Endpoint(faithful).running() as gone:
        pass
    code, output = extract(gone, source, "--retries", 0)
    assert (code, "gives no answer" in output) == (2, True)


# Faults of the answers


@pytest.mark.parametrize(
    "bad",
    [
        completion("I am sorry, I cannot read that."),
        completion('{"lesions": [{"quotes": [], "organ": "liver", "attenuation": "hy', finish="length"),
        completion('{"lesions": [{"organ": "liver"}]}'),
        completion('{"lesions": [{"quotes": [], "organ": "liver", "attenuation": "very dark"}]}'),
        completion('{"tumors": []}'),
        completion(""),
        Reply(200, "<html>Bad gateway</html>", kind="text/html"),
        Reply(200, "not JSON at all"),
        Reply(200, '{"choices": []}'),
    ],
    ids=["prose", "cut off", "no quotes", "no such value", "other keys", "empty", "html", "no JSON", "no choices"],
)
def test_an_unusable_answer_is_asked_for_again_and_never_accepted(bad: Reply, endpoint: Endpoint, source: Path) -> None:
    endpoint.behaviour = once(bad)
    assert extract(endpoint, source)[0] == 0
    assert_all_read(source.parent / "out.jsonl")
    assert "could not be used" in endpoint.sent[1]["messages"][-1]["content"]

    endpoint.behaviour = lambda body, number: bad
    write(source.parent / "one.jsonl", [{"id": 1, "report": report(30)}])
    code, output = extract(endpoint, source.parent / "one.jsonl", out="bad.jsonl")
    assert code == 0
    (line,) = read(source.parent / "bad.jsonl")
    assert line["descriptors"] is None
    assert line["checks"][0].startswith("no usable answer")
    assert "1 no usable answer" in output


def test_flips_and_inventions_are_rejected_and_counted(endpoint: Endpoint, source: Path) -> None:
    def flipped(body: dict[str, Any], number: int) -> Reply:
        lesions = lesions_of(question(body))
        for lesion in lesions:
            lesion.update(attenuation="hyper", composition="necrotic", size_mm=lesion["size_mm"] + 5)
        return completion(json.dumps({"lesions": [*lesions, {"quotes": ["a second mass"], "organ": "kidney"}]}))

    endpoint.behaviour = flipped
    code, output = extract(endpoint, source)
    assert code == 0
    for line in read(source.parent / "out.jsonl"):
        assert line["lesion"] == 0
        assert line["descriptors"] == {"organ": "liver", "margin": "ill-defined"}
        assert "hyper" not in line["description"]
        assert len(line["checks"]) == 4
    for kind in ("attenuation rejected", "composition rejected", "size_mm rejected", "rejected lesion"):
        assert f"{len(SIZES)} {kind}" in output


@pytest.mark.parametrize("status", [400, 422, 500])
@pytest.mark.parametrize("known", ["json_object", "text"])
def test_endpoints_without_structured_output_are_asked_otherwise_from_then_on(
    known: str, status: int, endpoint: Endpoint, source: Path
) -> None:
    def plain(body: dict[str, Any], number: int) -> Reply:
        form = body.get("response_format", {}).get("type", "text")
        return faithful(body, number) if form in (known, "text") else error(status, "unknown response_format")

    endpoint.behaviour = plain
    assert extract(endpoint, source)[0] == 0
    assert_all_read(source.parent / "out.jsonl")
    refused = 1 if known == "json_object" else 2
    assert len(endpoint.sent) == len(SIZES) + refused


def test_one_report_that_the_endpoint_refuses_does_not_end_the_run(endpoint: Endpoint, source: Path) -> None:
    def picky(body: dict[str, Any], number: int) -> Reply:
        return error(400, "too long") if "13 mm" in question(body) else faithful(body, number)

    endpoint.behaviour = picky
    assert extract(endpoint, source)[0] == 0
    assert sizes(source.parent / "out.jsonl") == [None if size == 13 else size for size in SIZES]
    refused = next(line for line in read(source.parent / "out.jsonl") if line["id"] == 13)
    assert "too long" in refused["checks"][0]


# Money


def test_the_cost_is_estimated_counted_and_bounded(endpoint: Endpoint, source: Path) -> None:
    prices = ("--price-in", 10, "--price-out", 20)
    each = (100 * 10 + 50 * 20) / 1e6
    highest = 0.045
    code, output = extract(endpoint, source, *prices, "--max-cost", highest)
    assert code == 2
    assert "--max-cost 0.045 might be passed" in output
    assert 1 <= endpoint.paid < len(SIZES)
    assert endpoint.paid * each <= highest
    paid = endpoint.paid
    code, output = extract(endpoint, source, *prices)
    assert code == 0
    assert endpoint.paid == len(SIZES)
    assert f"cost {(len(SIZES) - paid) * each:.4f}" in output
    assert f"about {len(SIZES)} requests" in output
    assert_all_read(source.parent / "out.jsonl")


def test_a_limit_that_many_requests_at_once_might_pass_does_not_stop_what_costs_less(
    endpoint: Endpoint, source: Path
) -> None:
    code, output = extract(
        endpoint, source, "--concurrency", 8, "--price-in", 10, "--price-out", 20, "--max-cost", 0.06
    )
    assert code == 0, output
    assert_all_read(source.parent / "out.jsonl")


def test_answers_serve_another_run_with_the_same_cache(endpoint: Endpoint, source: Path) -> None:
    cache = ("--cache", source.parent / "answers")
    extract(endpoint, source, *cache)
    code, output = extract(endpoint, source, *cache, out="again.jsonl")
    assert code == 0
    assert endpoint.paid == len(SIZES)
    assert f"0 requests ({len(SIZES)} more answered from disk)" in output
    assert read(source.parent / "again.jsonl") == read(source.parent / "out.jsonl")
    extract(endpoint, source, *cache, "--temperature", 0.5, out="other.jsonl")
    assert endpoint.paid == 2 * len(SIZES)  # another question


def test_a_killed_run_goes_on_without_paying_twice(endpoint: Endpoint, tmp_path: Path) -> None:
    count = 30
    source = write(tmp_path / "in.jsonl", [{"id": n, "report": report(10 + n)} for n in range(count)])

    def slow(body: dict[str, Any], number: int) -> Reply:
        reply = faithful(body, number)
        reply.wait = 0.2
        return reply

    endpoint.behaviour = slow
    command = [
        sys.executable,
        *("-m", "nnunet_textomorph.cli", "reports", "extract", str(source), str(tmp_path / "out.jsonl")),
        *("--engine", "openai", "--model", "m", "--base-url", endpoint.url, "--concurrency", "3"),
    ]
    started = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while endpoint.paid < 7 and started.poll() is None:
        time.sleep(0.05)
    started.send_signal(signal.SIGKILL)
    started.wait()
    time.sleep(0.5)  # for what was under way
    with sqlite3.connect(tmp_path / "out.jsonl.answers") as database:
        kept = database.execute("SELECT count(*) FROM answers").fetchone()[0]
    asked = len(endpoint.sent)
    assert 1 <= kept < count
    assert asked - kept <= 3  # only what was under way at that moment

    endpoint.behaviour = faithful
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert len(endpoint.sent) - asked == count - kept
    assert sizes(tmp_path / "out.jsonl") == [10 + n for n in range(count)]
    assert not list(tmp_path.glob(".partial*"))


# Before anything is sent


@pytest.mark.parametrize("loud", [False, True])
def test_a_dry_run_warns_shows_prompts_and_sends_nothing(loud: bool, source: Path) -> None:
    more = ["--no-deidentify"] if loud else []
    code, output = run("extract", source, source.parent / "out.jsonl", "--engine", "openai", "--model", "m",
                       "--base-url", "https://llm.example.invalid/v1", "--dry-run", *more)  # fmt: skip
    assert code == 0, output
    assert "WARNING" in output
    assert ("LLM.EXAMPLE.INVALID UNCHANGED" in output) == loud
    assert ("John Doe" in output) == loud
    assert "11 mm" in output
    assert "Invent nothing" in output
    assert f"about {len(SIZES)} requests" in output
    assert KEY not in output
    assert not (source.parent / "out.jsonl").exists()


def test_another_machine_needs_a_key(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    code, output = run("extract", source, source.parent / "o", "--engine", "openai", "--model", "m")
    assert (code, "OPENAI_API_KEY" in output) == (2, True)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "--model"),
        (["--model", "m", "--max-cost", "1"], "--price-in"),
        (["--model", "m", "--base-url", "localhost:8000"], "no address"),
    ],
)
def test_options_that_do_not_fit(options: list[str], sentence: str, source: Path) -> None:
    code, output = run("extract", source, source.parent / "o", "--engine", "openai", *options)
    assert (code, sentence in output) == (2, True), output


def test_this_machine_is_reached_by_no_proxy(endpoint: Endpoint, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert extract(endpoint, source, "--retries", 0)[0] == 0


# Variants

DESCRIPTION = "A hypoattenuating lesion in the liver with ill-defined margins."
LESION = {
    "id": 1,
    "lesion": 0,
    "descriptors": {"organ": "liver", "attenuation": "hypo", "margin": "ill-defined"},
    "description": DESCRIPTION,
}
PLACES = ("in the liver", "of the liver", "in the hepatic parenchyma")
FORMS = ("A {a}, {m} lesion {p}.", "There is a {m} {a} lesion {p}.", "Lesion {p}, {a} and {m}.")
GOOD = [
    form.format(a=a, m=m, p=p)
    for form in FORMS
    for a in ("hypodense", "low-attenuation", "hypoattenuating")
    for m in ("ill-defined", "poorly defined")
    for p in PLACES
]
WRONG = [
    "A hyperdense ill-defined lesion in the liver.",
    "A hypodense well-defined lesion in the liver.",
    "A hypodense ill-defined lesion in the pancreas.",
    "A hypodense ill-defined necrotic lesion in the liver.",
    "No hypodense ill-defined lesion in the liver.",
    "A hypodense lesion in the liver.",
]


def augment(endpoint: Endpoint, tmp_path: Path, *more: object) -> tuple[int, str]:
    source = write(tmp_path / "lesions.jsonl", [LESION])
    options = ["--engine", "openai", "--model", "m", "--base-url", endpoint.url, "--embedding-model", "e"]
    return run("augment", source, tmp_path / "out.jsonl", *options, "--threshold", 0.5, *more)


def test_variants_of_a_model_are_asked_for_until_enough_are_valid(endpoint: Endpoint, tmp_path: Path) -> None:
    def mixed(body: dict[str, Any], number: int) -> Reply:
        batch = GOOD[(number - 1) * 8 : number * 8]
        return completion(json.dumps({"variants": [*batch, WRONG[number % 6], batch[0].upper(), DESCRIPTION]}))

    endpoint.behaviour = mixed
    code, output = augment(endpoint, tmp_path, "-n", 30)
    assert code == 0, output
    (line,) = read(tmp_path / "out.jsonl")
    assert len(line["variants"]) == 30
    assert set(line["variants"]) <= set(GOOD)
    assert line["variants"][0] in endpoint.sent[1]["messages"][-1]["content"]  # it is told what there is


def test_a_model_that_repeats_itself_and_errs_is_not_padded(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.behaviour = lambda body, number: completion(json.dumps({"variants": [*WRONG, GOOD[0], GOOD[0] + " "]}))
    code, output = augment(endpoint, tmp_path, "-n", 30)
    assert code == 0
    (line,) = read(tmp_path / "out.jsonl")
    assert line["variants"] == [GOOD[0]]
    assert "1 of 30 variants" in line["checks"]
    assert "1 descriptions short of variants" in output
    assert len(endpoint.sent) == 1 + corpus.USELESS


def test_requests_per_description_are_bounded(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.behaviour = lambda body, number: completion(json.dumps({"variants": [GOOD[number]]}))
    assert augment(endpoint, tmp_path, "-n", 40, "--max-requests", 3)[0] == 0
    (line,) = read(tmp_path / "out.jsonl")
    assert len(line["variants"]) == 3
    assert all(read_description(text) is not None for text in line["variants"])
    assert len(endpoint.sent) == 3


def test_texts_for_an_embedding_endpoint_are_deidentified(endpoint: Endpoint, tmp_path: Path) -> None:
    pair = {"id": 1, "source": f"{PRIVATE}{DESCRIPTION}", "text": DESCRIPTION}
    source = write(tmp_path / "in.jsonl", [pair])
    options = ["--embedding-model", "e", "--threshold", 0.1, "--base-url", endpoint.url]
    code, output = run("validate", source, tmp_path / "out.jsonl", *options)
    assert code == 0, output
    assert endpoint.raw
    assert not [raw for raw in endpoint.raw if "Doe" in raw or "00482913" in raw]
