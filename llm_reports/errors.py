"""The error that a user's mistake in report data raises."""

from __future__ import annotations


class ReportError(ValueError):
    """A mistake in what the user gave: one sentence that names the file, field or value and says what to do."""
