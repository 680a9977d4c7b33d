"""The commands that help to write: the job file's schema for an editor, completion for a shell."""

import json

import click
from click.shell_completion import get_completion_class

from tocsin.commands.common import any_job_file_option, examples

COMPLETE_VARIABLE = "_TOCSIN_COMPLETE"  # click's rule: _NAME_COMPLETE


_COMMENT = "#:schema ./tocsin.schema.json"


@click.command(
    epilog=examples("tocsin schema > tocsin.schema.json")
    + f"\n\nThe first line of tocsin.toml then names it, for editors with Taplo: {_COMMENT}"
)
@any_job_file_option
def schema() -> None:
    """Print the JSON Schema of the job file. By it an editor completes and checks."""
    from tocsin.jobfile.schema import schema as of_the_job_file

    click.echo(json.dumps(of_the_job_file(), indent=2))


@click.command(
    epilog=examples(
        'eval "$(tocsin completion bash)"      in ~/.bashrc',
        'eval "$(tocsin completion zsh)"       in ~/.zshrc, after compinit',
        "tocsin completion fish | source       in ~/.config/fish/config.fish",
    )
)
@any_job_file_option
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL. It completes commands, options and the names of jobs."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "tocsin", COMPLETE_VARIABLE).source())
