"""The Hugging Face hub: what `hf upload` does, with mistakes told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from huggingface_hub import HfApi, errors, get_token
from huggingface_hub.utils._validators import validate_repo_id

from hypernym.errors import OutputError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

UNREACHABLE: tuple[type[Exception], ...] = (*errors.HfHubHTTPError.__bases__, OSError)
"""What the hub's client raises, whichever library it speaks HTTP with: a mistake of that library is a
base of its own, and a lost connection another case of the same."""


def check_push(repo: str) -> None:
    """Check what can be checked before there is anything to push.

    Raises:
        UsageError: it is no name of a repository, or there is no token.
    """
    try:
        validate_repo_id(repo)
    except errors.HFValidationError as cause:
        raise UsageError(f"--push {repo} is no name on the hub: give USER/NAME.") from cause
    if repo.count("/") != 1:
        raise UsageError(f"--push {repo} names no user: give USER/NAME.")
    if not get_token():
        raise UsageError(
            f"--push {repo} needs a token of the hub: run `hf auth login`, or set HF_TOKEN."
        )


def push(folder: Path, repo: str, *, private: bool) -> str:
    """Put a folder on the hub, into a repository that is made if it is not there; return its address.

    Raises:
        OutputError: the hub does not take it, or is not reached. The folder stays.
    """
    api = HfApi()
    try:
        made = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Export by hypernym")
    except UNREACHABLE as cause:
        told = " ".join(str(cause).split())
        raise OutputError(
            f"{folder} is whole, but {repo} does not take it ({told}): push it later by "
            f"`hf upload {repo} {folder}`."
        ) from cause
    return str(made)
