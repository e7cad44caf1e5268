"""What stands in the documents, and every value that an option lists, is taken by the command line."""

from __future__ import annotations

import re
import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest

from hypernym.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cyclopts import App
    from cyclopts.argument import Argument

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted({ROOT / "README.md", *ROOT.glob("docs/*.md")} - {ROOT / "docs" / "log.md"})
"""The log tells of the past, with places to be filled in."""


def parse(words: list[str]) -> Any:  # noqa: ANN401 - what a command is called with
    return app.parse_args(words, print_error=False, exit_on_error=False)[1]


def commands_of(group: App, *words: str) -> Iterator[tuple[tuple[str, ...], App]]:
    """Give the words of each command and what cyclopts made of it."""
    for name in group:
        if name.startswith("-"):
            continue
        below = group[name]
        if any(not word.startswith("-") for word in below):
            yield from commands_of(below, *words, name)
        else:
            yield (*words, name), below


def enums_in(hint: object) -> set[type[StrEnum]]:
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return {hint}
    return {found for inside in get_args(hint) for found in enums_in(inside)}


def required_words(arguments: list[Argument], but: Argument) -> list[str]:
    """Return something for each argument that a command must have; files of it need not exist."""
    return ["x" for each in arguments if each.required and each.index is not None and each is not but]


CHOICES = {
    f"{' '.join(words)} {argument.name} {member}": (words, argument, list(arguments), kind, member)
    for words, command in commands_of(app)
    for arguments in [command.assemble_argument_collection(default_parameter=app.default_parameter)]
    for argument in arguments
    for kind in enums_in(argument.hint)
    for member in kind
}


def test_the_options_with_a_choice_are_all_found() -> None:
    found = {(*words, argument.name) for words, argument, *_ in CHOICES.values()}
    assert {("prepare", "--recipe"), ("prepare", "--layout"), ("pretrain", "--scheme")} <= found
    assert {("tree", "build", "--rule"), ("transfer", "--method"), ("verify", "--mode")} <= found


@pytest.mark.parametrize("case", CHOICES)
def test_every_value_of_every_choice_is_taken_and_is_shown_by_the_help(case: str) -> None:
    words, argument, arguments, kind, member = CHOICES[case]
    bound = parse([*words, *required_words(arguments, argument), argument.name, str(member)])
    assert member in values_in(bound.arguments)
    shown = argument.get_choices()
    assert shown is not None
    assert set(shown) >= {str(each) for each in kind}


def values_in(given: Any) -> list[Any]:  # noqa: ANN401 - what was bound, however deep
    """Return the enumeration members among some arguments, and in the options that they hold."""
    if isinstance(given, StrEnum):
        return [given]
    if isinstance(given, dict):
        return [found for each in given.values() for found in values_in(each)]
    if isinstance(given, (list, tuple)):
        return [found for each in given for found in values_in(each)]
    return values_in(vars(given)) if hasattr(given, "model_fields_set") else []


def lines_in(document: Path) -> Iterator[str]:
    """Give the commands in the blocks of a document."""
    for block in re.findall(r"^```\w*\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            before, name, words = line.partition("hypernym ")
            if name and re.fullmatch(r"(\$ |.*&& uv run |torchrun .*-m |)", before):
                yield words


COMMANDS = [(path.name, words) for path in DOCUMENTS for words in lines_in(path)]


def test_the_commands_of_the_documents_are_found() -> None:
    verbs = {words.split()[0] for _, words in COMMANDS}
    assert {"demo", "prepare", "tree", "pretrain", "evaluate", "transfer", "compare"} <= verbs
    assert {"predict", "export", "serve"} <= verbs


@pytest.mark.parametrize(("document", "words"), COMMANDS)
def test_every_command_in_a_document_is_one_that_the_command_line_takes(
    document: str, words: str
) -> None:
    assert document
    parse(shlex.split(words, comments=True))
