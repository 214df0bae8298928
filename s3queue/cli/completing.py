"""``completion``, of both command lines: what a shell has to be told, so that it completes commands, options and arguments."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from s3queue.cli.render import put

_BASH = r"""%(name)s_completion() {
    # Bash splits words at : = < > and filters are full of them: take the words as they are typed, and give back what
    # follows the last of these signs.
    local line="${COMP_LINE:0:$COMP_POINT}" words cur prefix="" found kind value
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    cur="${words[-1]//\\/}"
    [[ $COMP_WORDBREAKS == *:* ]] && prefix="${cur%%"${cur##*[:=<>]}"}"
    COMPREPLY=()
    compopt +o default
    while IFS=, read -r kind value; do
        if [[ $kind == dir ]]; then compopt -o dirnames
        elif [[ $kind == file ]]; then compopt -o default
        elif [[ $kind == plain ]]; then
            if [[ $cur != [\'\"]* ]]; then value="${value//>/\\>}"; value="${value//</\\<}"; fi  # no redirection
            COMPREPLY+=("${value#"$prefix"}")
            [[ $value == *[:~=.\>\<] ]] && compopt -o nospace
        fi
    done < <(env COMP_WORDS="$line" COMP_CWORD=$((${#words[@]} - 1)) %(variable)s=bash_complete %(program)s)
}
complete -o nosort -F %(name)s_completion %(program)s"""


def completion_of(program: str) -> click.Command:
    """Return the command that prints the scripts for ``program``, as it is called in a shell."""
    name = f"_{program.replace('-', '_')}"
    variable = f"{name.upper()}_COMPLETE"

    @click.command("completion", short_help="Print what makes a shell complete commands.")
    @click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
    @click.pass_context
    def completion(ctx: click.Context, shell: str) -> None:
        if shell == "bash":
            put(_BASH % {"name": name, "variable": variable, "program": program})
            return
        made = get_completion_class(shell)
        assert made is not None  # noqa: S101 - click has both
        put(made(ctx.find_root().command, {}, program, variable).source().strip())

    completion.help = f"""Print a script for the shell that completes commands, options and arguments.

    \b
    bash  eval "$({program} completion bash)"      in ~/.bashrc
    zsh   eval "$({program} completion zsh)"       in ~/.zshrc, after compinit
    fish  {program} completion fish | source       in ~/.config/fish/config.fish
    """
    return completion
