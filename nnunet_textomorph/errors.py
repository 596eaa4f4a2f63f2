"""The error that a user's mistake raises."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake in what the user gave. The message is one sentence that names the file, field or value and what to do.

    The command line prints it without a traceback and exits with code 2.
    """
