"""python -m serving keys …, audit: who may ask the service, and what was taken from it."""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path

from features.commands import add, add_store
from serving.keys import SCOPES
from serving.settings import database_url, has_database

Commands = argparse._SubParsersAction  # argparse gives it no other name


def add_key_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    """`keys add`, `keys list`, `keys revoke` and `audit`."""
    keys = commands.add_parser("keys", help="who may ask: add, list, revoke").add_subparsers(
        required=True, metavar="add|list|revoke"
    )
    adding = _named(add(keys, "add", _add, "make a key; it is shown once"))
    adding.add_argument(
        "--scope", action="append", required=True, choices=SCOPES, help="what it opens; repeatable"
    )  # fmt: skip
    adding.add_argument(
        "--per-minute", type=int, metavar="N", help="requests a minute it may make (default: as many as come)"
    )
    add_store(add(keys, "list", _list, "every key, its scopes, and whether it is revoked"))
    _named(add(keys, "revoke", _revoke, "close a key; running services know within a second"))
    audit = add(commands, "audit", _audit, "who downloaded lists or changed keys: when, what, how many rows")
    add_store(audit)
    audit.add_argument("--last", type=int, default=50, metavar="N", help="entries, newest last (default %(default)s)")


def note_taken(store: Path, what: str, rows: int) -> None:
    """Record in the audit, where there is one, that a command wrote a list or scores. Raises StateError."""
    url = database_url(store)
    if has_database(url):
        from serving.audit import record

        record(url, "command line", "list downloaded", what, rows, _now())


def _named(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("name", metavar="NAME", help="of the program that uses it, such as shop-backend")
    add_store(parser)
    return parser


def _add(options: argparse.Namespace) -> None:
    from serving.key_store import add_key

    token = add_key(database_url(options.store), options.name, options.scope, options.per_minute, _now())
    print(f"{token}\nThis is shown once: keep it as you keep passwords. A running service honours it within a second.")


def _list(options: argparse.Namespace) -> None:
    from serving.key_store import all_keys

    url = database_url(options.store)
    found = all_keys(url) if has_database(url) else []
    if not found:
        print("no keys yet: the service answers this machine only (python -m serving keys add NAME --scope score)")
    for key in found:
        rate = f"{key.per_minute:,} a minute" if key.per_minute else "no limit"
        state = f"revoked {key.revoked_at}" if key.revoked_at else f"made {key.made_at}"
        print(f"{key.name:<24} {key.prefix}…  {' '.join(key.scopes):<32} {rate:<16} {state}")


def _revoke(options: argparse.Namespace) -> None:
    from serving.key_store import revoke_key

    revoke_key(database_url(options.store), options.name, _now())
    print(f"{options.name} is revoked: a running service refuses it within a second.")


def _audit(options: argparse.Namespace) -> None:
    from serving.audit import entries

    url = database_url(options.store)
    found = entries(url, options.last) if has_database(url) else []
    if not found:
        print("nothing is recorded yet: list downloads and changes of keys are, from the first key on")
    for entry in found:
        rows = "" if entry.rows is None else f"  {entry.rows:,} rows"
        print(f"{entry.at}  {entry.who:<24} {entry.act:<16} {entry.what}{rows}")


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
