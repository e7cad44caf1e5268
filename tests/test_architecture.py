"""Rules that matter are tests: floors, the front door, the documents."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import hypernym as hn
from hypernym.cli import app

ROOT = Path(__file__).parents[1]
COMMANDS = [
    "demo",
    "prepare",
    "tree build",
    "tree check",
    "tree show",
    "tree export",
    "pretrain",
    "evaluate",
    "transfer",
    "compare",
    "predict",
    "export",
    "serve",
    "verify",
]


def test_a_file_imports_only_from_floors_beneath_it() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_floor_plan_in_the_architecture_page_is_the_folder() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    plan = page[
        page.index("```\nsrc/hypernym/") : page.index("```", page.index("```\nsrc/hypernym/") + 4)
    ]
    package = ROOT / "src/hypernym"
    modules = {
        str(path.relative_to(package)) for path in package.rglob("*.py") if path.name != "__init__.py"
    }
    told = set()
    folder = ""
    for line in plan.splitlines()[2:]:
        if match := re.match(r"  ([\w/]+)/ ", line):
            folder = f"{match[1]}/"
        elif line.startswith("  ") and not line.startswith("    "):
            folder = ""
        told |= {folder + name for name in re.findall(r"\b\w+\.py\b", line)}
    assert told == modules


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command: str) -> None:
    assert f"hypernym {command}" in (ROOT / "README.md").read_text()


def test_the_list_of_commands_is_the_command_line() -> None:
    names = [name for name in app if not name.startswith("-")]
    tree = [name for name in app["tree"] if not name.startswith("-")]
    listed = [name for name in names if name != "tree"] + [f"tree {name}" for name in tree]
    assert sorted(listed) == sorted(COMMANDS)


def test_every_command_is_a_function_of_the_package() -> None:
    for command in COMMANDS:
        found: object = hn
        for word in command.split():
            found = getattr(found, word)
        assert callable(found)
        assert found.__doc__


def test_the_readme_has_no_gap() -> None:
    assert "DEMO_OUTPUT" not in (ROOT / "README.md").read_text()


def test_links_in_the_documents_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_help_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from hypernym.cli import main; main(['--help']); "
        "print(sorted({'torch', 'numpy', 'timm', 'pyarrow'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_does_not_import_torch(command: str) -> None:
    code = (
        f"import sys; from hypernym.cli import main; main([*{command.split()}, '--help']); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
