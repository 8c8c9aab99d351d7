"""The program: what goes wrong becomes one line on standard error and an exit code."""

import os
import sys

import typer
from typer.exceptions import Abort, TyperException
from typer.main import get_command

from isospike.cli import zoo
from isospike.cli.commands import app
from isospike.cli.report import report
from isospike.cli.stress import stress
from isospike.errors import IsospikeError
from isospike.training import leave_processes

app.add_typer(zoo.app, name="zoo")
app.command()(stress)
app.command()(report)
USAGE, INTERRUPTED = 2, 130
_STOPPED = (
    "interrupted; what was whole stays whole, and the same command goes on where a training, a simulation or a proof "
    "stopped"
)


def run(arguments: list[str]) -> int:
    """Run one command and give its exit code: 0; 1 where a proof failed; 2 for bad input; 130 for Ctrl-C."""
    try:
        code = get_command(app).main(arguments, prog_name="isospike", standalone_mode=False)
        leave_processes()
        if code == INTERRUPTED:  # typer makes an exit code of Ctrl-C
            _say(_STOPPED)
        return code if isinstance(code, int) else 0
    except IsospikeError as error:
        _say(str(error))
        return USAGE
    except TyperException as error:
        message = getattr(error, "format_message", error.__str__)()
        if message:  # empty where the help has been shown instead
            _say(f"{message} ('isospike --help' shows the commands)")
        return USAGE
    except (KeyboardInterrupt, Abort):
        _say(_STOPPED)
        return INTERRUPTED
    except (MemoryError, RuntimeError) as error:
        if "alloc" not in str(error) and not isinstance(error, MemoryError):
            raise
        _say("out of memory: use a smaller network, a smaller batch size, or a machine with more memory")
        return USAGE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        _say(f"{error.filename or 'system'}: {error.strerror or error}")
        return USAGE


def _say(message: str) -> None:
    typer.echo(f"isospike: {' '.join(message.split())}", err=True)
