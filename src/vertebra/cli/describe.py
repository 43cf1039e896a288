"""``vertebra describe``: the summary of a model, or the metadata of an exported file."""

from __future__ import annotations

import typer

from vertebra.cli.printing import print_json


def describe(
    source: str | None = typer.Argument(
        None, help="A run folder, a model or exported file, a config, or a backbone's name."
    ),
    neck: str | None = typer.Option(None, help="Neck, if SOURCE is a backbone."),
    encoder: str | None = typer.Option(None, help="Encoder, if SOURCE is a backbone."),
    decoder: str | None = typer.Option(None, help="Decoder, if SOURCE is a backbone."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show the parts of a model, with their shapes and sizes."""
    from vertebra.errors import ConfigError
    from vertebra.runtimes import is_exported

    if source is None:
        raise ConfigError(
            "nothing to describe: give a run folder, a model file, a config, or a backbone with --decoder"
        )
    if is_exported(source):
        from vertebra.runtimes.model_files.summary import describe_file, summary_text

        summary = describe_file(source)
        if as_json:
            print_json(summary, indent=2)
        else:
            typer.echo(summary_text(summary))
        return
    from vertebra.report.model_summary import model_summary_text, summarize_model

    model_summary = summarize_model(_model(source, neck, encoder, decoder))
    if as_json:
        print_json(model_summary.to_dict(), indent=2)
    else:
        typer.echo(model_summary_text(model_summary))


def _model(source: str, neck: str | None, encoder: str | None, decoder: str | None):  # type: ignore[no-untyped-def]
    from pathlib import Path

    from vertebra.build import create_model
    from vertebra.config import read_raw
    from vertebra.errors import ConfigError
    from vertebra.weights.model_file import load

    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        from vertebra.training.run import model_of_config

        return model_of_config(read_raw(path), str(path))
    if path.exists():
        return load(path)
    if decoder is None:
        raise ConfigError(f"'{source}' is not a file or folder; to describe a backbone give --decoder too")
    return create_model(source, neck=neck, encoder=encoder, decoder=decoder, classes=["a", "b"])
