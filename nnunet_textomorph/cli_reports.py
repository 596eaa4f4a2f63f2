"""The command line's `reports` group: from raw reports, or from images, to descriptions and variants."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from nnunet_textomorph.cli_common import FILE, one_line_errors, with_options

if TYPE_CHECKING:
    import openai

    from nnunet_textomorph.llm_reports.client import ChatModel, Spending
    from nnunet_textomorph.llm_reports.encoders import Encoder
    from nnunet_textomorph.llm_reports.engines import OpenAIEngine

SHOWN = 3  # prompts of a dry run
TYPICAL_TOKENS_OUT = 250  # of an answer


class Endpoint(NamedTuple):
    """The options about a language model, as given; the defaults are those of the command line."""

    model: str | None = None
    base_url: str | None = None
    concurrency: int = 4
    timeout: float = 120.0
    retries: int = 6
    temperature: float | None = None
    price_in: float = 0.0
    price_out: float = 0.0
    max_cost: float | None = None
    cache: Path | None = None
    no_deidentify: bool = False
    dry_run: bool = False


_DEFAULT = Endpoint()


_engine_option = click.option(
    "--engine",
    type=click.Choice(["offline", "openai"]),
    default="offline",
    help="Rules on this machine, or a language model at an OpenAI-compatible endpoint.",
)
model_options = with_options(
    [
        _engine_option,
        click.option("--model", help="Its name at the endpoint."),
        click.option("--base-url", help="e.g. http://localhost:8000/v1; else OPENAI_BASE_URL, else OpenAI's own."),
        click.option(
            "--concurrency",
            type=click.IntRange(1, 256),
            default=_DEFAULT.concurrency,
            help="Requests at the same time.",
        ),
        click.option(
            "--timeout", type=click.FloatRange(min=0.1), default=_DEFAULT.timeout, help="Seconds per request."
        ),
        click.option(
            "--retries", type=click.IntRange(0, 50), default=_DEFAULT.retries, help="Per request, with growing waits."
        ),
        click.option("--temperature", type=click.FloatRange(0, 2), help="The endpoint's own by default."),
        click.option(
            "--price-in", type=click.FloatRange(0), default=_DEFAULT.price_in, help="Per million tokens sent."
        ),
        click.option(
            "--price-out", type=click.FloatRange(0), default=_DEFAULT.price_out, help="Per million tokens received."
        ),
        click.option("--max-cost", type=click.FloatRange(0), help="Stop before it is passed; needs the prices."),
        click.option("--cache", type=FILE, help="File of the answers paid for; OUT.answers by default."),
    ]
)
_endpoint_options = with_options(
    [
        model_options,
        click.option("--no-deidentify", is_flag=True, help="Send reports with names, dates and numbers. Not advised."),
        click.option("--dry-run", is_flag=True, help="Show prompts and the estimate, send nothing."),
    ]
)
_encoder_options = with_options(
    [
        click.option("--encoder", help="A Hugging Face id or a folder; by default the packaged all-MiniLM-L6-v2."),
        click.option("--embedding-model", help="Embeddings of --base-url instead; the paper's is a Llama 3.1."),
        click.option(
            "--threshold", type=click.FloatRange(-1, 1), help="Cosine to reach; the encoder's own by default."
        ),
    ]
)


@click.group()
def reports() -> None:
    """Descriptions of tumors, from reports or from images. docs/reports.md shows how they go together."""


@reports.command()
@click.argument("source", metavar="IN.jsonl", type=FILE)
@click.argument("out", metavar="OUT.jsonl", type=FILE)
@_endpoint_options
@one_line_errors
def extract(source: Path, out: Path, engine: str, **options: Any) -> None:
    """Read reports ({"id", "report"}): one line per lesion with descriptors and a description."""
    from nnunet_textomorph.llm_reports import corpus
    from nnunet_textomorph.llm_reports.jsonl import check_new

    endpoint = Endpoint(**options)
    if engine == "offline":
        _summarize(corpus.extract(source, out), out)
        return
    check_new(out)
    with Asked(endpoint, out) as asked:
        reader = asked.engine()
        shown, requests, tokens = corpus.preview_extraction(source, reader, SHOWN if endpoint.dry_run else 0)
        if not asked.announce(shown, requests, tokens):
            return
        counts = corpus.extract(source, out, reader, concurrency=endpoint.concurrency)
    _summarize(counts, out)


@reports.command()
@click.argument("source", metavar="IN.jsonl", type=FILE)
@click.argument("out", metavar="OUT.jsonl", type=FILE)
@click.option("-n", "wanted", type=click.IntRange(1, 10_000), default=100, help="Variants per description.")
@click.option("--seed", type=int, default=0, help="Of the offline engine.")
@click.option("--max-requests", type=click.IntRange(1), help="To a model, per description; by default n / 10.")
@_encoder_options
@_endpoint_options
@one_line_errors
def augment(
    source: Path,
    out: Path,
    wanted: int,
    seed: int,
    max_requests: int | None,
    encoder: str | None,
    embedding_model: str | None,
    threshold: float | None,
    engine: str,
    **options: Any,
) -> None:
    """Add to the lines of `extract` distinct variants, each of them validated."""
    from nnunet_textomorph.llm_reports import corpus
    from nnunet_textomorph.llm_reports.jsonl import check_new

    endpoint = Endpoint(**options)
    if engine == "offline":
        judge = _encoder(encoder, embedding_model, threshold, endpoint)
        _summarize(corpus.augment(source, out, wanted, encoder=judge, seed=seed), out)
        return
    check_new(out)
    with Asked(endpoint, out) as asked:
        preview = corpus.preview_augmentation(source, wanted, SHOWN if endpoint.dry_run else 0)
        if not asked.announce(*preview):
            return
        counts = corpus.augment(
            source,
            out,
            wanted,
            asked.engine(),
            encoder=_encoder(encoder, embedding_model, threshold, endpoint, asked.client),
            concurrency=endpoint.concurrency,
            max_requests=max_requests,
        )
    _summarize(counts, out)


@reports.command()
@click.argument("source", metavar="PAIRS.jsonl", type=FILE)
@click.argument("out", metavar="OUT.jsonl", type=FILE)
@_encoder_options
@click.option("--base-url", help="Of --embedding-model.")
@click.option("--no-deidentify", is_flag=True, help="Send texts with names, dates and numbers to --embedding-model.")
@one_line_errors
def validate(
    source: Path,
    out: Path,
    encoder: str | None,
    embedding_model: str | None,
    threshold: float | None,
    base_url: str | None,
    no_deidentify: bool,
) -> None:
    """Judge pairs ({"id", "source", "text"}): does the text say what its source says, and nothing else?"""
    from nnunet_textomorph.llm_reports import corpus

    endpoint = Endpoint(base_url=base_url, no_deidentify=no_deidentify)
    _summarize(corpus.validate(source, out, _encoder(encoder, embedding_model, threshold, endpoint)), out)


@reports.command()
@click.argument("sources", metavar="VARIANTS.jsonl...", type=FILE, nargs=-1, required=True)
@click.argument("out", metavar="BANK.jsonl", type=FILE)
@one_line_errors
def bank(sources: tuple[Path, ...], out: Path) -> None:
    """Make a description bank of what `augment` wrote: the `bank` of TextoMorphPlans.json."""
    from nnunet_textomorph.llm_reports.bank import build_bank, write_bank
    from nnunet_textomorph.llm_reports.corpus import LesionLine
    from nnunet_textomorph.llm_reports.errors import ReportError
    from nnunet_textomorph.llm_reports.jsonl import check_new, read_lines

    check_new(out)
    made = build_bank(line.model_dump() for source in sources for line in read_lines(source, LesionLine))
    if not len(made):
        raise ReportError(f"{sources[0]}: holds no description with variants; give files that augment wrote.")
    write_bank(made, out)
    click.echo(f"{len(made):8d} descriptions, {sum(len(line.variants) for line in made)} wordings", err=True)
    click.echo(f"wrote {out}")


@reports.command()
@click.option("--image", type=FILE, required=True, help="CT (NIfTI, NRRD or MetaImage).")
@click.option("--mask", type=FILE, required=True, help="Segmentation on the same grid.")
@click.option("--host-label", type=int, multiple=True, default=(1,), help="May be given several times.")
@click.option("--tumor-label", type=int, multiple=True, default=(2,), help="May be given several times.")
@click.option("--organ", help="Name of the host, for the text.")
@click.option("--out", type=FILE, help="A new JSONL file instead of the screen.")
@_endpoint_options
@one_line_errors
def describe(
    image: Path,
    mask: Path,
    host_label: tuple[int, ...],
    tumor_label: tuple[int, ...],
    organ: str | None,
    out: Path | None,
    engine: str,
    **options: Any,
) -> None:
    """Say in words what every tumor of a segmentation looks like; one JSON line per lesion.

    Measured by rules; with --engine openai a vision model looks at three views, and disagreement with the measurement
    is said.
    """
    from nnunet_textomorph.errors import UserError
    from nnunet_textomorph.generator.volumes import read_volume
    from nnunet_textomorph.llm_reports.describer import describe_lesions

    if out is not None and out.exists():
        raise UserError(f"{out}: exists; give --out a new file.")
    ct, labels = read_volume(image), read_volume(mask, integer=True)
    if not ct.same_grid(labels):
        raise UserError(f"{mask}: its grid ({labels.grid_text()}) is not that of {image} ({ct.grid_text()}).")
    if engine == "offline":
        lesions = describe_lesions(ct.array, labels.array, ct.spacing, host_label, tumor_label, organ)
        _write([_lesion_line(image, lesion, lesion.descriptors, lesion.description) for lesion in lesions], out)
        return

    from nnunet_textomorph.llm_reports.client import tokens_in
    from nnunet_textomorph.llm_reports.vision import describe_views, lesion_messages

    describe_lesions(ct.array, labels.array, ct.spacing, host_label, tumor_label, organ)  # complains before any payment
    with Asked(Endpoint(**options), out or Path(f"{image.name}.views")) as asked:
        prompts = list(lesion_messages(ct.array, labels.array, ct.spacing, tumor_label, organ))
        if not asked.announce(prompts[:SHOWN], len(prompts), sum(tokens_in(p) for p in prompts)):
            return
        views = describe_views(ct.array, labels.array, ct.spacing, host_label, tumor_label, organ, asked.model())
        lines = [
            {**_lesion_line(image, v.measured, v.descriptors, v.description), "checks": list(v.checks)} for v in views
        ]
    _write(lines, out)


def _lesion_line(image: Path, lesion: Any, descriptors: Any, description: str) -> dict[str, Any]:
    return {
        "id": image.name,
        "lesion": lesion.index,
        "label": lesion.label,
        "centroid": [round(c, 1) for c in lesion.centroid],
        "too_small": lesion.too_small,
        "descriptors": descriptors.model_dump(exclude_none=True),
        "description": description,
    }


def _write(lines: Iterable[dict[str, Any]], out: Path | None) -> None:
    from nnunet_textomorph.llm_reports.jsonl import new_file

    if out is None:
        click.echo("\n".join(json.dumps(line) for line in lines))
        return
    with new_file(out) as write:
        for line in lines:
            write(line)


class Asked:
    """A language model while a command runs: what the user must know before and after."""

    def __init__(self, endpoint: Endpoint, out: Path) -> None:
        from nnunet_textomorph.errors import UserError
        from nnunet_textomorph.llm_reports.client import Prices, Spending

        if not endpoint.model:
            raise UserError("--engine openai needs --model, the model's name at the endpoint.")
        prices = Prices(endpoint.price_in, endpoint.price_out)
        if endpoint.max_cost is not None and not (endpoint.price_in or endpoint.price_out):
            raise UserError("--max-cost needs --price-in and --price-out, per million tokens.")
        self._endpoint = endpoint
        self._url = _url(endpoint)
        self._cache = endpoint.cache or out.with_name(f"{out.name}.answers")
        self._model: ChatModel | None = None
        self.spending: Spending = Spending(prices, endpoint.max_cost)

    def __enter__(self) -> Asked:
        return self

    def __exit__(self, *_: object) -> None:
        if self._model is not None:
            self._answers.close()
            click.echo(f"{self.spending}; answers kept in {self._cache}", err=True)

    @property
    def client(self) -> openai.OpenAI:
        return _client(self._endpoint)

    def model(self) -> ChatModel:
        from nnunet_textomorph.llm_reports.client import Answers, ChatModel

        if self._model is None:
            self._answers = Answers(self._cache)
            self._model = ChatModel(
                self.client,
                str(self._endpoint.model),
                self._answers,
                self.spending,
                temperature=self._endpoint.temperature,
            )
        return self._model

    def engine(self) -> OpenAIEngine:
        from nnunet_textomorph.llm_reports.engines import OpenAIEngine

        return OpenAIEngine(self.model(), deidentified=not self._endpoint.no_deidentify)

    def warn(self) -> None:
        """Say where what is sent goes."""
        _warn(self._endpoint)

    def announce(self, prompts: list[list[dict[str, Any]]], requests: int, tokens: int) -> bool:
        """Warn, estimate, and in a dry run show the prompts; False if nothing is to be sent."""
        self.warn()
        if self._endpoint.dry_run:
            for messages in prompts:
                click.echo("\n".join(_shown(message) for message in messages))
                click.echo("-" * 60)
        prices = self.spending.prices
        about = f"about {requests} requests, {tokens} tokens in, {requests * TYPICAL_TOKENS_OUT} out"
        if prices.per_million_in or prices.per_million_out:
            about += f", cost {prices.of(tokens, requests * TYPICAL_TOKENS_OUT):.2f}"
        click.echo(f"{about}{'; nothing is sent' if self._endpoint.dry_run else ''}", err=True)
        return not self._endpoint.dry_run


def _shown(message: dict[str, Any]) -> str:
    content = message["content"]
    if not isinstance(content, str):
        content = "\n".join(part["text"] if part["type"] == "text" else "(a PNG)" for part in content)
    return f"[{message['role']}]\n{content}"


def _url(endpoint: Endpoint) -> str:
    from nnunet_textomorph.llm_reports.client import OPENAI_URL

    return endpoint.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL


def _client(endpoint: Endpoint) -> openai.OpenAI:
    from nnunet_textomorph.llm_reports.client import endpoint_client

    return endpoint_client(_url(endpoint), timeout=endpoint.timeout, retries=endpoint.retries)


def _warn(endpoint: Endpoint) -> None:
    from nnunet_textomorph.llm_reports.privacy import warning

    text = warning(_url(endpoint), not endpoint.no_deidentify)
    if text:
        click.secho(text, err=True, bold=True, fg="red" if endpoint.no_deidentify else None)


def _encoder(
    local: str | None,
    embedding_model: str | None,
    threshold: float | None,
    endpoint: Endpoint,
    client: openai.OpenAI | None = None,
) -> Encoder:
    """The encoder that was asked for; texts go to an endpoint's only without what identifies a person."""
    from nnunet_textomorph.errors import UserError
    from nnunet_textomorph.llm_reports.encoders import EndpointEncoder, local_encoder
    from nnunet_textomorph.llm_reports.privacy import DeidentifiedEncoder

    if embedding_model is None:
        return local_encoder(local, threshold)
    if local is not None:
        raise UserError("Give --encoder or --embedding-model, not both.")
    encoder = EndpointEncoder(client or _client(endpoint), embedding_model, threshold)
    if client is None:
        _warn(endpoint)
    return encoder if endpoint.no_deidentify else DeidentifiedEncoder(encoder)


def _summarize(counts: Counter[str], out: Path) -> None:
    for name, count in sorted(counts.items()):
        if count:
            click.echo(f"{count:8d} {name}", err=True)
    click.echo(f"wrote {out}")
