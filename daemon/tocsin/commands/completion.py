"""`tocsin completion`: lets the shell complete commands, options and the names of jobs."""

import click
from click.shell_completion import get_completion_class

from tocsin.commands.common import any_job_file_option, examples

COMPLETE_VARIABLE = "_TOCSIN_COMPLETE"  # click's rule: _NAME_COMPLETE


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
    """Print the completion script for SHELL.

    It completes commands, options and job names.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "tocsin", COMPLETE_VARIABLE).source())
