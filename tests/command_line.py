"""The command as a user types it, and its errors as a user sees them."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from qdeq_qiskit.cli import app


def qdeq(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def error_line(result: Result) -> str:
    """The only line on standard error, of a command that ended with a user's error."""
    assert result.exit_code == 2, (result.output, result.exception)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert "Traceback" not in result.output
    return lines[0]
