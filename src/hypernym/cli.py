"""The command line: words -> verb -> printed result.

Commands are named here and imported when called: `hypernym --help` imports neither torch nor NumPy.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cyclopts import App, CycloptsError, Parameter
from pydantic import ValidationError

from hypernym import __version__
from hypernym.errors import HypernymError
from hypernym.progress import is_first_process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cyclopts.argument import Argument

EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130
EXIT_UNHEARD = 141
"""What a shell gives for a program that a closed pipe ended."""


def _word_of(name: str) -> str:
    """Return what a Python name is on the command line: `min_images`, `IMAGENET21K_P`.

    Of an enumeration this is the value of the member. (What cyclopts does by itself would part letters
    from digits: imagenet21-k-p.)
    """
    return name.lower().replace("_", "-").strip("-")


app = App(
    name="hypernym",
    help="Train image models on labels that form a tree.",
    default_parameter=Parameter(name_transform=_word_of),
    help_epilogue="`hypernym COMMAND --help` lists the options of a command. "
    "Every command takes --json, to print its result for a program.",
    version=__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # `main` says how to go on
)
tree = App(name="tree", help="Build, check, show and export the label tree of a dataset.")
app.command("hypernym.commands.demo:demo", help="See the whole pipeline on a drawn world.")
app.command("hypernym.commands.prepare:prepare", help="Turn raw images into a dataset.")
app.command("hypernym.commands.verify:verify", help="Tell what is missing, changed or extra.")
app.command(tree)
tree.command("hypernym.commands.tree:build", help="Build tree.json from WordNet or your own taxonomy.")
tree.command("hypernym.commands.tree:check", help="Tell what is odd about a tree or a taxonomy.")
tree.command("hypernym.commands.tree:show", help="Print the tree, with counts of images.")
tree.command("hypernym.commands.tree:export", help="Write the tree as CSV, JSON, DOT, Newick or HTML.")
app.command("hypernym.commands.pretrain:pretrain", help="Train a timm model on a dataset.")
app.command("hypernym.commands.evaluate:evaluate", help="Measure a run on a dataset.")
app.command("hypernym.commands.transfer:transfer", help="Judge a model on another dataset.")
app.command("hypernym.commands.compare:compare", help="Tell which scheme is better, and how surely.")
app.command("hypernym.commands.predict:predict", help="Name images by paths of the tree.")
app.command("hypernym.commands.export:export", help="Make a model into a folder that others open.")
app.command("hypernym.commands.serve:serve", help="Serve a page and an API that name images.")


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 2 a mistake of the request, 130 stopped.

    Of a run that a scheduler stopped it is 75; 141 where nobody reads the result to its end (`| head`).

    A result has an `exit_code` of its own where it can be bad news (`tree check`).
    """
    words = sys.argv[1:] if words is None else list(words)
    as_json = "--json" in words
    try:
        result = app(
            [word for word in words if word != "--json"], exit_on_error=False, print_error=False
        )
    except HypernymError as mistake:
        return _report(str(mistake), mistake.exit_code)
    except ValidationError as mistake:
        return _report(_describe(mistake))
    except CycloptsError as mistake:
        if isinstance(mistake.__cause__, ValidationError):  # the option's value broke its bounds
            return _report(_describe(mistake.__cause__, mistake.argument))
        return _report(str(mistake))
    except KeyboardInterrupt:
        writes = any(word.startswith(("--out", "--embed")) for word in words)
        can_resume = words[:1] in (["prepare"], ["pretrain"], ["transfer"])
        can_resume |= words[:1] == ["predict"] and writes
        if is_first_process():
            print(f"Stopped.{' Add --resume to go on.' if can_resume else ''}", file=sys.stderr)
        return EXIT_INTERRUPTED
    exit_code: int = getattr(result, "exit_code", 0)
    if result is not None and is_first_process():
        try:
            _show(result, as_json=as_json)
        except BrokenPipeError:
            # Python flushes once more at its end, and would tell of the closed pipe.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            exit_code = EXIT_UNHEARD
    return exit_code


def _show(result: Any, *, as_json: bool) -> None:  # noqa: ANN401 - the result of any command
    if as_json:
        print(json.dumps(asdict(result), default=str, indent=1), flush=True)
    elif hasattr(result, "__rich__") and sys.stdout.isatty():
        from rich import print as print_rich

        print_rich(result)
    else:
        print(result, flush=True)


def _report(message: str, exit_code: int = EXIT_MISTAKE) -> int:
    """Tell a mistake; of several processes, say which one tells it."""
    which = "" if is_first_process() else f"process {os.environ['RANK']}: "
    print(f"error: {which}{message}", file=sys.stderr)
    return exit_code


def _describe(mistake: ValidationError, argument: Argument | None = None) -> str:
    """Return place and message of each problem; pydantic's own text ends in a web address."""
    problems: list[str] = []
    for problem in mistake.errors():
        option = ".".join(str(place) for place in problem["loc"]).replace("_", "-")
        place = f"--{option}" if option or argument is None else argument.name
        what = problem["msg"].lower()
        if problem["type"] == "model_type":
            what = f"{place} is a group of options; give one of them as {place}.NAME (--help lists them)"
        problems.append(f"{place} {problem['input']}: {what}.")
    return " ".join(problems)
