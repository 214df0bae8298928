"""``s3queue-admin completion``: what a shell has to be told, so that it completes commands, queues and filters."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from s3queue.cli.render import put

VARIABLE = "_S3QUEUE_ADMIN_COMPLETE"
_BASH = r"""_s3queue_admin_completion() {
    # Bash splits words at : = < > and filters are full of them: take the words as they are typed, and give back what
    # follows the last of these signs.
    local line="${COMP_LINE:0:$COMP_POINT}" words cur prefix="" found kind value
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    cur="${words[-1]}"
    [[ $COMP_WORDBREAKS == *:* ]] && prefix="${cur%"${cur##*[:=<>]}"}"
    COMPREPLY=()
    compopt +o default
    while IFS=, read -r kind value; do
        if [[ $kind == dir ]]; then compopt -o dirnames
        elif [[ $kind == file ]]; then compopt -o default
        elif [[ $kind == plain ]]; then
            COMPREPLY+=("${value#"$prefix"}")
            [[ $value == *[:~=.\>\<] ]] && compopt -o nospace
        fi
    done < <(env COMP_WORDS="$line" COMP_CWORD=$((${#words[@]} - 1)) _S3QUEUE_ADMIN_COMPLETE=bash_complete s3queue-admin)
}
complete -o nosort -F _s3queue_admin_completion s3queue-admin"""


@click.command(short_help="Print what makes a shell complete commands.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script for the shell that completes commands, options, queues (of the bucket named so far) and filters.

    \b
    bash  eval "$(s3queue-admin completion bash)"      in ~/.bashrc
    zsh   eval "$(s3queue-admin completion zsh)"       in ~/.zshrc, after compinit
    fish  s3queue-admin completion fish | source       in ~/.config/fish/config.fish
    """  # noqa: D301 - \b is the character by which click keeps lines apart
    if shell == "bash":
        put(_BASH)
        return
    made = get_completion_class(shell)
    assert made is not None  # noqa: S101 - click has both
    put(made(ctx.find_root().command, {}, "s3queue-admin", VARIABLE).source().strip())
