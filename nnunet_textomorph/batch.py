"""``textomorph synthesize --batch``: many requests in one run, by one process or by those of ``accelerate launch``."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import traceback
import zlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from pydantic import ValidationError, model_validator
from tqdm import tqdm

from nnunet_textomorph.errors import UserError
from nnunet_textomorph.generator import GeneratorError
from nnunet_textomorph.generator.config import GeneratorConfig
from nnunet_textomorph.generator.parallel import on_cpu
from nnunet_textomorph.generator.volumes import SUFFIXES, read_volume
from nnunet_textomorph.generators import generator_reference, load_generator
from nnunet_textomorph.llm_reports.errors import ReportError
from nnunet_textomorph.llm_reports.jsonl import first_fault, numbered
from nnunet_textomorph.synthesize import SynthesisRequest, check_request, identity, make, partial_path, write

if TYPE_CHECKING:
    from nnunet_textomorph.generators import AnyGenerator

SUMMARY = "summary.jsonl"
NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)  # what is a folder's name everywhere
MOST_FAULTS = 20  # of a file that are shown
LONGEST_WAIT = timedelta(days=30)  # of a process for the others, whose share may take longer

Result = TypeVar("Result")


class BatchLine(SynthesisRequest):
    """A line of a batch: a request, and the name of the folder that gets its result.

    A line without a seed gets one that follows from its name, so that equal lines do not give equal tumors, and the
    order of the lines decides nothing.
    """

    name: str

    @model_validator(mode="before")
    @classmethod
    def _seed_from_name(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("name"), str) and values.get("seed") is None:
            return {**values, "seed": zlib.crc32(values["name"].encode())}
        return values


class Job(NamedTuple):
    """A request, the name of its result's folder and the number of its line."""

    number: int
    name: str
    request: SynthesisRequest


class Failure(NamedTuple):
    """A job that came to nothing, and why."""

    job: Job
    reason: str


def run_batch(batch: Path, out: Path, generator: Path | None) -> int:
    """Make what each line of ``batch`` asks for, in a folder of its name in ``out``.

    ``generator``: of the lines that name none. Everything is checked before the first tumor is made. What ``out`` holds
    already is not made again if it is of the same request, and an error if it is of another. A line whose tumor cannot
    be made is reported, and the others go on. Last, ``summary.jsonl`` is written.

    Under ``accelerate launch`` each process makes its share of what is left, on its own device; results do not depend
    on their number. The main process checks and writes the summary.

    Returns the number of failures in the main process, 0 in others. Raises :class:`UserError`, :class:`GeneratorError`
    or :class:`ReportError` for what is found before, and ``OSError`` where a result cannot be written.
    """
    state = PartialState(cpu=on_cpu(), timeout=LONGEST_WAIT)
    load = lru_cache(maxsize=1)(partial(load_generator, device=state.device))

    def jobs_left() -> list[Job]:
        load(generator_reference(generator))
        jobs = read_batch(batch, generator)
        left = _left(jobs, batch, out, load)
        click.echo(
            f"{len(jobs)} requests, {len(jobs) - len(left)} made before, {len(left)} to make by {state.num_processes} "
            f"process{'es' if state.num_processes > 1 else ''}"
        )
        return left

    left = _agreed(state, jobs_left)
    read_image = lru_cache(maxsize=1)(read_volume)
    read_labels = lru_cache(maxsize=1)(partial(read_volume, integer=True))
    failures = []
    with state.split_between_processes(left) as share:
        for job in tqdm(share, desc=_title(state), disable=not state.is_main_process):
            try:
                image, labels = read_image(job.request.image), read_labels(job.request.organ_mask)
                made = make(job.request, image, labels, load(job.request.generator))
            except Exception as error:  # one line of thousands: whatever it is, the others go on
                failures.append(Failure(job, _reason(error)))
                tqdm.write(f"{batch}, line {job.number} ({job.name}): {failures[-1].reason}", sys.stderr)
                continue
            write(made, out / job.name)
    failures = gather_object(failures)
    state.destroy_process_group()
    if not state.is_main_process:
        return 0
    write_summary(out, failures)
    click.echo(f"made {len(left) - len(failures)} of {len(left)}; {out / SUMMARY} lists them")
    return len(failures)


def read_batch(path: Path, generator: Path | None = None) -> list[Job]:
    """The jobs of a file of JSON lines; paths in it are relative to its folder.

    Raises :class:`UserError` naming the line, or after showing each, when lines are unusable: no JSON, a field that is
    missing, unknown or wrong, a file that does not exist, a name that is taken; :class:`ReportError` for a file that
    is missing or not UTF-8.
    """
    jobs: list[Job] = []
    faults: list[str] = []
    names: dict[str, int] = {}
    is_file = lru_cache(maxsize=None)(os.path.isfile)
    for number, content in numbered(path):
        try:
            line = BatchLine.model_validate_json(content)
            request = _placed(line, path.parent, generator)
            check_request(request)
            _check_files(request, is_file)
            _check_name(line.name, number, names)
        except ValidationError as error:
            faults.append(f"{path}, line {number}: {first_fault(error)}.")
        except UserError as error:
            faults.append(f"{path}, line {number}: {error}")
        else:
            jobs.append(Job(number, line.name, request))
    _raise(faults, path)
    if not jobs:
        raise UserError(f"{path}: holds no line; write one JSON line per tumor.")
    return jobs


def write_summary(out: Path, failures: Sequence[Failure] = ()) -> None:
    """Write ``summary.jsonl``: a line for each result in ``out``, by name, and one for each failure."""
    path = out / SUMMARY
    out.mkdir(parents=True, exist_ok=True)
    temporary = partial_path(path)
    with temporary.open("w", encoding="utf-8") as file:
        for record in sorted(out.glob("*/request.json")):
            facts = _record(record.parent)
            if facts is not None:
                facts.pop("command", None)
                file.write(json.dumps({"name": record.parent.name, "made": True, **facts}) + "\n")
        for (number, name, request), reason in failures:
            why = {"name": name, "made": False, "line": number, "reason": reason}
            file.write(json.dumps({**why, **request.model_dump()}) + "\n")
    os.replace(temporary, path)


def _title(state: PartialState) -> str:
    return "tumors" if state.num_processes == 1 else f"tumors of process 1 of {state.num_processes}"


def _placed(line: BatchLine, folder: Path, generator: Path | None) -> SynthesisRequest:
    """The line's request, its paths whole."""
    fields = line.model_dump(exclude={"name"})
    if fields["generator"] is None and generator is not None:
        fields["generator"] = generator_reference(generator)
    fields["generator"] = generator_reference(fields["generator"], folder)
    for name in ("image", "organ_mask", "tumor_mask"):
        if fields[name] is not None:
            fields[name] = os.path.abspath(folder / fields[name])
    return SynthesisRequest(**fields)


def _check_files(request: SynthesisRequest, is_file: Callable[[str], bool]) -> None:
    for file in (request.image, request.organ_mask, request.tumor_mask):
        if file is not None and not is_file(file):
            raise UserError(f"{file}: no such file.")
        if file is not None and not file.lower().endswith(SUFFIXES):
            raise UserError(f"{file}: not a NIfTI, NRRD or MetaImage file; give one of {', '.join(SUFFIXES)}.")


def _check_name(name: str, number: int, names: dict[str, int]) -> None:
    """``names``: those of the lines before, in lower case (some file systems know no other), and their numbers."""
    if not NAME.fullmatch(name) or name == SUMMARY:
        raise UserError(
            f"The name {name!r} cannot be a folder's; give up to 100 of A-Z, a-z, 0-9, '_', '-' and '.', neither "
            "of the last two first."
        )
    first = names.setdefault(name.lower(), number)
    if first != number:
        raise UserError(f"The name {name!r} is that of line {first}; give each line its own.")


def _raise(faults: Sequence[str], path: Path) -> None:
    """Raise the one fault, or show several and raise their number."""
    if len(faults) == 1:
        raise UserError(faults[0])
    if faults:
        for fault in faults[:MOST_FAULTS]:
            click.echo(fault, err=True)
        shown = f", of which {MOST_FAULTS} are shown" if len(faults) > MOST_FAULTS else ""
        raise UserError(f"{path}: {len(faults)} lines are unusable{shown}; put them right. Nothing was made.")


def _left(jobs: Sequence[Job], batch: Path, out: Path, load: Callable[[str | None], AnyGenerator]) -> list[Job]:
    """The jobs whose results are not in ``out`` yet; removes what a killed run left half-made of them.

    Raises :class:`UserError` where a job's name is taken by something else, a line's generator cannot be loaded, or
    ``out`` cannot be a folder.
    """
    parent = next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())
    if not parent.is_dir():
        raise UserError(f"{parent}: is a file; give --out a folder that can be made.")
    if (out / SUMMARY).exists() and not _is_summary(out / SUMMARY):
        raise UserError(f"{out / SUMMARY}: is of no batch; give --out another folder, where {SUMMARY} can be written.")
    names = {job.name for job in jobs} | {SUMMARY}
    for entry in out.iterdir() if out.is_dir() else ():
        partial_name = re.fullmatch(r"\.partial-\d+-(.+)", entry.name)
        if partial_name and partial_name[1] in names:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    left, faults = [], []
    made_by: dict[str | None, tuple[GeneratorConfig, str] | None] = {}
    for job in jobs:
        folder = job.request.generator
        if folder not in made_by:
            try:
                made_by[folder] = load(folder).config, load(folder).weights_hash
            except GeneratorError as error:
                made_by[folder] = None
                faults.append(f"{batch}, line {job.number}: {error}")
        by = made_by[folder]
        if by is None or not (out / job.name).exists():
            left.append(job)
        elif difference := _difference(out / job.name, identity(job.request, *by)):
            why = f"{out / job.name}: {difference}; give another name, or another --out."
            faults.append(f"{batch}, line {job.number}: {why}")
    _raise(faults, batch)
    return left


def _is_summary(path: Path) -> bool:
    try:
        return "made" in json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    except (ValueError, IndexError, TypeError):
        return False


def _difference(folder: Path, wanted: dict[str, Any]) -> str | None:
    """In what a folder is not the result of a request; None where it is."""
    found = _record(folder)
    if found is None:
        return "exists, and is no result"
    for name, value in wanted.items():
        if found.get(name) != value:
            return f"was made with {name} {found.get(name)!r}, not {value!r}"
    return None


def _record(folder: Path) -> dict[str, Any] | None:
    """What ``request.json`` holds; None where a folder is no result."""
    try:
        found = json.loads((folder / "request.json").read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _agreed(state: PartialState, decide: Callable[[], Result]) -> Result:
    """What the main process decides. Where it finds a mistake, it alone reports it, and the others end."""
    decided: list[Any] = [None]
    mistake: Exception | None = None
    if state.is_main_process:
        try:
            decided = [decide()]
        except (UserError, GeneratorError, ReportError, OSError) as error:
            mistake = error
    broadcast_object_list(decided)
    if mistake is not None:
        raise mistake
    if decided[0] is None:
        raise SystemExit(0)  # at any other code the launcher would end the main process before it has spoken
    return decided[0]


def _reason(error: Exception) -> str:
    """An error in one line; what is no mistake of the user's is a bug, whose trace is shown."""
    if isinstance(error, (UserError, GeneratorError)):
        return " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or str(error)).lower()}."
    tqdm.write(traceback.format_exc(), sys.stderr)
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
