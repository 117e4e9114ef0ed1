"""``convert completion bash|zsh|fish``: a script that completes verbs, layouts, options and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .overview import COMMANDS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

DESCRIPTION = """\
Print a script that completes verbs, layouts, options and files in your shell.
Load it from your shell's start-up file, as the examples show."""

EXAMPLES = (
    'eval "$(convert completion bash)"           # in ~/.bashrc; with zsh: ~/.zshrc',
    "convert completion fish > ~/.config/fish/completions/convert.fish",
)

PROGRAMS = ("convert", "video-checkpoint-convert")
"""The names that the command is installed under."""

OF_LAYOUTS = ("--to", "--layout", "--layout-a", "--layout-b")
"""Options that take a layout."""


_ZSH_HEAD = """\
(( $+functions[compdef] )) || { autoload -U +X compinit && compinit }
autoload -U +X bashcompinit && bashcompinit
"""
"""zsh runs completions of bash, if its own are there."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell")


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    from converters.mapping.table_files import layout_names

    options_of = {verb: _options(verb) for verb in (*COMMANDS, "auto")}
    layouts = ["auto", "onnx", *layout_names()]
    script = _fish if options.shell == "fish" else _bash
    print(script(options_of, layouts, zsh=options.shell == "zsh"))
    return 0


def _options(verb: str) -> dict[str, str]:
    """The options of a verb with their help; of ``auto`` those of every conversion."""
    from .parser import parser_of

    return {
        word: (action.help or "").partition(";")[0]
        for action in parser_of(verb)._actions
        for word in action.option_strings
        if word.startswith("--")
    }


def _bash(options_of: Mapping[str, Mapping[str, str]], layouts: list[str], *, zsh: bool) -> str:
    cases = "\n".join(f'    {verb}) words="{" ".join(options)}" ;;' for verb, options in options_of.items())
    head = _ZSH_HEAD if zsh else ""
    # zsh completes files itself where nothing fits; what it takes for names of files it ends without a space.
    files, how = ("", "default") if zsh else ('$(compgen -f -- "$current")', "filenames")
    return f"""{head}_video_checkpoint_convert() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" words=""
  local layouts="{" ".join(layouts)}" verbs="{" ".join(COMMANDS)}"
  COMPREPLY=()
  case "$before" in
    {"|".join(OF_LAYOUTS)}) COMPREPLY=($(compgen -W "$layouts" -- "$current")); return ;;
    help) COMPREPLY=($(compgen -W "$verbs sources" -- "$current")); return ;;
    completion) COMPREPLY=($(compgen -W "bash zsh fish" -- "$current")); return ;;
  esac
  if [[ $COMP_CWORD -eq 1 && "$current" != -* ]]; then
    COMPREPLY=($(compgen -W "$verbs $layouts" -- "$current") {files})
    return
  fi
  if [[ "$current" != -* ]]; then COMPREPLY=({files}); return; fi
  case "${{COMP_WORDS[1]}}" in
{cases}
    *) words="{" ".join(options_of["auto"])}" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o {how} -F _video_checkpoint_convert {" ".join(PROGRAMS)}"""


def _fish(options_of: Mapping[str, Mapping[str, str]], layouts: list[str], *, zsh: bool) -> str:
    lines = []
    for program in PROGRAMS:
        base = f"complete -c {program}"
        for verb, about in COMMANDS.items():
            lines.append(f"{base} -n __fish_use_subcommand -a {verb} -d {_quoted(about)}")
        lines.append(f"{base} -n __fish_use_subcommand -a {_quoted(' '.join(layouts))} -d layout")
        verbs = " ".join(COMMANDS)
        for verb, options in options_of.items():
            seen = f"__fish_seen_subcommand_from {verb}"
            condition = f"not __fish_seen_subcommand_from {verbs}" if verb == "auto" else seen
            for word, about in options.items():
                values = f" -x -a {_quoted(' '.join(layouts))}" if word in OF_LAYOUTS else ""
                lines.append(f"{base} -n {_quoted(condition)} -l {word[2:]}{values} -d {_quoted(about)}")
        lines.append(f"{base} -n '__fish_seen_subcommand_from help' -x -a {_quoted(f'{verbs} sources')}")
        lines.append(f"{base} -n '__fish_seen_subcommand_from completion' -x -a 'bash zsh fish'")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """A text in single quotes, as fish reads it."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
