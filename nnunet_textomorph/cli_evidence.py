"""The commands that measure: benchmark, radiomics, turing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from nnunet_textomorph.cli_common import FILE, ListOptions, one_line_errors, repeated


def named_folders(values: Sequence[str]) -> list[tuple[str, Path]]:
    """``NAME=FOLDER`` as pairs; :class:`UserError` for anything else or a folder that is none."""
    from nnunet_textomorph.errors import UserError

    made = []
    for value in values:
        name, found, folder = value.partition("=")
        if not found or not name or not folder:
            raise UserError(f"{value!r} is no NAME=FOLDER; give for example random=synthetic/random.")
        if not Path(folder).is_dir():
            raise UserError(f"{folder}: no such folder; it is named for {name}.")
        made.append((name, Path(folder)))
    return made


@click.command(cls=ListOptions)
@click.argument("dataset")
@click.option("-c", "--configuration", default="3d_fullres")
@click.option(
    "--trainers",
    multiple=True,
    default=("nnUNetTrainer", "nnUNetTrainerTextoMorph"),
    help="One or more, the first of which the others are tested against.",
)
@click.option("--folds", multiple=True, type=click.IntRange(0), default=(0, 1, 2, 3, 4), help="One or more.")
@click.option("-p", "--plans", default="nnUNetPlans")
@click.option("--epochs", type=click.IntRange(1), help="Of every trainer; by default each has its own schedule.")
@click.option("--iterations", type=click.IntRange(1), help="Per epoch, of every trainer; 250 with --epochs alone.")
@click.option("--predictions", multiple=True, metavar="NAME=FOLDER", help="Further methods: predictions of the cases.")
@click.option("--train/--no-train", default=True, help="Whether folds without a finished validation are trained.")
@click.option("--device", type=click.Choice(["cuda", "cpu", "mps"]), help="To train on; cuda where there is one.")
@click.option("--tolerance", "tolerance_mm", type=float, default=2.0, help="Of the NSD, in mm.")
@click.option(
    "--min-overlap", type=click.FloatRange(0, 1), default=0.0, help="Share of a lesion below which it counts as missed."
)
@click.option("--patients", type=FILE, help="CSV: case, and what --by names; optionally patient.")
@click.option("--by", multiple=True, help="Columns of --patients to make subgroups by, one or more.")
@click.option("--workers", type=click.IntRange(1), default=1, help="Processes that score cases.")
@click.option("--out", type=FILE, help="A new folder; by default TextoMorphBenchmark in the dataset's results.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier benchmark; trainings are kept.")
@one_line_errors
def benchmark(dataset: str, configuration: str, predictions: tuple[str, ...], **settings: Any) -> None:
    """Compare trainers on a dataset: train what is missing, then sensitivity by size, false positives, DSC and NSD.

    With intervals over patients and paired tests. Of trainers that classify lesions: sensitivity and PPV of each tumor
    type. DATASET comes first; the same command goes on after an interruption.
    """
    from nnunet_textomorph.benchmark import benchmark as run

    done = run(dataset, configuration, predictions=named_folders(predictions), **settings)
    click.echo((done.folder / "table.md").read_text(encoding="utf-8"))
    click.echo(f"wrote {done.folder}")


_SYNTHETIC = click.option(
    "--synthetic",
    multiple=True,
    metavar="NAME=FOLDER",
    help="A method's tumors, as synthesize wrote them; one or more.",
)


@click.command(cls=ListOptions)
@_SYNTHETIC
@click.option("--real", type=FILE, multiple=True, help="nnU-Net raw datasets' folders, for their real tumors.")
@click.option("--workers", type=click.IntRange(1), default=1, help="Processes.")
@click.option("--out", type=FILE, required=True, help="A new folder.")
@one_line_errors
def radiomics(synthetic: tuple[str, ...], real: tuple[Path, ...], workers: int, out: Path) -> None:
    """Measure how diverse synthetic tumors are (102 features), and how well they can be told from real ones.

    All methods with the same masks in the same CT. The same command goes on after an interruption.
    """
    from nnunet_textomorph.radiomics import markdown, radiomics_study

    diversity, realism = radiomics_study(named_folders(synthetic), real, out, workers)
    click.echo(markdown(diversity, realism))
    click.echo(f"wrote {out}")


class _Turing(click.Group):
    """A group that is a command too: without a subcommand it builds the study."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, repeated(args, {"--synthetic", "--real"}) if args[:1] != ["score"] else args)


@click.group(cls=_Turing, invoke_without_command=True)
@_SYNTHETIC
@click.option(
    "--real", type=FILE, multiple=True, help="nnU-Net raw datasets' folders, for their real tumors.  [required]"
)
@click.option("--per-cell", type=click.IntRange(1), default=60, help="Tumors per method, organ and size class.")
@click.option("--seed", type=click.IntRange(0), default=0)
@click.option("--out", type=FILE, help="A new folder.  [required]")
@click.pass_context
@one_line_errors
def turing(
    ctx: click.Context, synthetic: tuple[str, ...], real: tuple[Path, ...], per_cell: int, seed: int, out: Path | None
) -> None:
    """Build a blinded reader study, real against synthetic tumors: one page that works offline, and its key.

    Send for_readers/study.html to the readers; score what they send back with turing score.
    """
    if ctx.invoked_subcommand is not None:
        return
    if not real or out is None or not synthetic:
        raise click.UsageError("Building a study needs --synthetic, --real and --out.")
    from nnunet_textomorph.turing import write_study

    items = write_study(named_folders(synthetic), real, out, per_cell, seed)
    click.echo(
        f"wrote {len(items)} tumors: {out / 'for_readers' / 'study.html'} for the readers, {out / 'key.csv'} not"
    )


@turing.command()
@click.argument("key", type=FILE)
@click.argument("answers", type=FILE, nargs=-1, required=True)
@click.option("--out", type=FILE, required=True, help="A new folder.")
@one_line_errors
def score(key: Path, answers: tuple[Path, ...], out: Path) -> None:
    """Score the readers' files against KEY: discrimination rates with intervals, and the readers' agreement."""
    from nnunet_textomorph.turing import score_study

    score_study(key, answers, out)
    click.echo((out / "turing.md").read_text(encoding="utf-8"))
    click.echo(f"wrote {out}")
