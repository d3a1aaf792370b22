"""The folder in which models are published for serving, and the pointer to the bundle in use.

<root>/CURRENT                              names the bundle in use; replaced in one step
<root>/churn-3_transition-2_clv-2/          one bundle, as models.bundle reads it; never changed once named
<root>/REFUSED                              why the registry's latest champions are not served (yet); absent if they are
<root>/UNREACHED                            why the registry cannot be asked for them; absent if it can
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from features import durable

Versions = Mapping[str, Mapping[str, str]]

KEPT = 3


def current(root: Path) -> Path | None:
    """The bundle in use; None before the first was published."""
    name = pointer(root)
    return root / name if name else None


def edition(root: Path) -> str:
    """The pointer, and which file it is: another store in its place may have a generation of the same name."""
    try:
        found = (root / "CURRENT").stat()
    except OSError:
        return pointer(root)
    return f"{pointer(root)} {found.st_ino:x}.{found.st_mtime_ns:x}"


def pointer(root: Path) -> str:
    """The name of the bundle or generation that a folder's CURRENT says is in use; empty if it says none."""
    try:
        return (root / "CURRENT").read_text(errors="replace").strip()
    except OSError:
        return ""


def versions(bundle: Path | None) -> dict[str, Any] | None:
    """Which version of each model a bundle holds; None without a readable manifest."""
    try:
        found = json.loads((bundle / "manifest.json").read_text())["models"] if bundle else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, dict) else None


def refusal(root: Path) -> str | None:
    """Why the registry's champions are not served, in words; None if they are."""
    return noted(root / "REFUSED")


def refuse(root: Path, why: str | None) -> None:
    """Leave or remove the note that `refusal` reads."""
    note(root / "REFUSED", why)


def unreached(root: Path) -> str | None:
    """Why the registry cannot be asked for its champions, in words; None if it can."""
    return noted(root / "UNREACHED")


def unreach(root: Path, why: str | None) -> None:
    """Leave or remove the note that `unreached` reads."""
    note(root / "UNREACHED", why)


def noted(path: Path) -> str | None:
    """What a note says; None if there is none."""
    try:
        return path.read_text() or None
    except OSError:
        return None


def note(path: Path, text: str | None) -> None:
    """Leave a note, or remove it; nothing is written where it says so already."""
    if text is None:
        path.unlink(missing_ok=True)
    elif text != noted(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.replace(path, text)


def flip(root: Path, bundle: Path) -> None:
    """Make a finished bundle the one in use, durably, and forget the oldest others."""
    for path in (*bundle.rglob("*"), bundle):
        durable.sync(path)
    durable.replace(root / "CURRENT", bundle.name)
    _forget(root, bundle)


def _forget(root: Path, used: Path) -> None:
    """Keep the few newest bundles: a way back, and what a reader may just be opening."""
    found = [path for path in root.iterdir() if (path / "manifest.json").is_file() and not path.name.startswith(".")]
    newest = sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest[KEPT:]:
        if path != used:
            shutil.rmtree(path, ignore_errors=True)
