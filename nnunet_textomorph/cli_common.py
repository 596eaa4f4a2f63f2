"""What the command groups share."""

from __future__ import annotations

import errno
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

FILE = click.Path(path_type=Path)


def one_line_errors(command: Callable[..., None]) -> Callable[..., None]:
    """End with one line and exit code 2 where the user can put it right; anything else is a bug and keeps its trace."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        from nnunet_textomorph.errors import UserError
        from nnunet_textomorph.generator.errors import GeneratorError
        from nnunet_textomorph.llm_reports.errors import ReportError

        try:
            command(*args, **kwargs)
        except (UserError, GeneratorError, ReportError, NotImplementedError) as error:
            _fail(str(error))
        except OSError as error:
            if error.errno == errno.ENOSPC and error.filename is None:  # of an open file, such as a log
                _fail("The disk is full; free some space and give the command again.")
            if error.filename is None:  # not about a file that the user named
                raise
            _fail(f"{error.filename}: {(error.strerror or str(error)).lower()}.")

    return wrapped


def _fail(message: str) -> NoReturn:
    click.echo(f"Error: {' '.join(message.split())}", err=True)
    raise SystemExit(2)


def with_options(options: list[Callable[..., Any]]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator that gives a command several options, in their order."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


class ListOptions(click.Command):
    """A command whose ``multiple`` options also take several values in a row: ``--folds 0 1 2``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        listed = {
            name
            for option in self.params
            if isinstance(option, click.Option) and option.multiple and option.nargs == 1
            for name in (*option.opts, *option.secondary_opts)
        }
        return super().parse_args(ctx, repeated(args, listed))


def repeated(args: Sequence[str], listed: set[str]) -> list[str]:
    """``--folds 0 1`` as ``--folds 0 --folds 1``."""
    made: list[str] = []
    option, fresh = "", False
    for arg in args:
        if arg.startswith("-"):
            option, fresh = (arg, True) if arg in listed else ("", False)
            made.append(arg)
        else:
            made += [arg] if not option or fresh else [option, arg]
            fresh = False
    return made
