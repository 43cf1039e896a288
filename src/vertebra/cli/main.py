"""The command line. Each command is thin: it parses, calls and prints; heavy modules load when a command runs.

Results go to standard output; messages and progress go to standard error. Bad input ends with one line and exit code 2,
SIGINT (Ctrl-C) with one line and 130, SIGTERM with one line and 143.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from types import FrameType

import typer

from vertebra.cli import (
    benchmark,
    calibrate,
    data,
    demo,
    describe,
    eval_tracks,
    evaluate,
    exporting,
    importing,
    parts,
    predict,
    report,
    runs,
    train,
    tune,
)
from vertebra.cpus import let_threads_sleep
from vertebra.errors import StoppedBySignal, VertebraError, missing_package
from vertebra.files import os_error_sentence, os_errors_as_run_errors

app = typer.Typer(
    name="vertebra",
    help="Build computer-vision models out of parts; train, evaluate, predict and export them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("parts")(parts.parts)
app.command("describe")(describe.describe)
app.add_typer(data.app, name="data")
app.command("import")(importing.import_model)
app.command("train")(train.train)
app.command("tune")(tune.tune)
app.command("calibrate")(calibrate.calibrate)
app.command("eval")(evaluate.evaluate)
app.command("eval-tracks")(eval_tracks.eval_tracks)
app.command("report")(report.report)
app.command("predict")(predict.predict)
app.command("export")(exporting.export)
app.command("runs")(runs.runs)
app.command("benchmark")(benchmark.benchmark)


@app.callback(invoke_without_command=True)
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    if version:
        from vertebra import __version__

        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point of the ``vertebra`` command."""
    let_threads_sleep()
    # Pillow's warning about large images: images that are too large are refused before decoding
    warnings.filterwarnings("ignore", message="Image size .* exceeds limit")
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    _unwind_on_signals()
    try:
        try:
            app(args=[argument for argument in arguments if argument != "--debug"])
        finally:
            _flush()
    except BrokenPipeError:
        sys.exit(1)
    except (VertebraError, ModuleNotFoundError, OSError, MemoryError) as error:
        message = explained(error)
        if debug or message is None:
            raise
        print(f"vertebra: {message}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 2))
    except StoppedBySignal as stop:
        print(f"vertebra: {stop}", file=sys.stderr)
        sys.exit(128 + stop.number)


def _unwind_on_signals() -> None:
    """Makes SIGTERM raise an exception as Ctrl-C does, so that files are closed; both print a line."""
    process = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() == process:
            raise StoppedBySignal(number)
        signal.signal(number, signal.SIG_DFL)  # a forked process, which has inherited this handler
        os.kill(os.getpid(), number)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):  # not one that is ignored
            signal.signal(number, stop)


def explained(error: Exception) -> str | None:
    """The message for the user; None for a bug, whose traceback is needed."""
    if isinstance(error, ModuleNotFoundError):
        missing = missing_package(error)
        return None if missing is None else str(missing)
    if isinstance(error, OSError):
        return None if error.errno is None else os_error_sentence(error)
    if isinstance(error, MemoryError):
        return (
            "not enough memory; use smaller batches (--batch-size), tiles (--tile) or images, or close other programs"
        )
    return str(error)


def _flush() -> None:
    """Flushes standard output, so that a full disk raises an error; the interpreter itself would only print a warning."""
    try:
        with os_errors_as_run_errors("standard output"):
            sys.stdout.flush()
    except (VertebraError, BrokenPipeError):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # prevents a second flush at exit
        raise
