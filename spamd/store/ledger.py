"""The ledger as JSON lines: one word of the person per line, with history, so that rescued mail stays so."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from spamd.domain import AccountName, LabelRecord
from spamd.errors import RequestError
from spamd.store.database import Store
from spamd.wire import from_json, to_json

LINE_LIMIT = 10_000  # characters; ours have some 300


@dataclass(frozen=True, slots=True)
class Imported:
    """taken: lines that changed what holds; known: lines that said nothing new; refused: what was wrong."""

    taken: int
    known: int
    refused: tuple[str, ...] = ()


def export_lines(store: Store, account: AccountName | None = None) -> Iterator[str]:
    """Each with its line feed, oldest word first."""
    for record in store.ledger(account):
        fields = to_json(dataclasses.replace(record, id=0))
        del fields["id"]
        yield json.dumps(fields, ensure_ascii=False) + "\n"


def import_lines(store: Store, lines: Iterable[str], *, account: AccountName | None = None) -> Imported:
    """Add these words to what is there, all in one transaction; a stronger or newer word that is there stays.

    account: take them for this account, whatever name the lines say. A line that cannot be read is left out
    and reported. What was taken counts in the model after the instant head was rebuilt.
    """
    taken = known = 0
    refused: list[str] = []
    with store.transaction():
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = _read(line)
            except RequestError as exc:
                if len(refused) < 20:
                    refused.append(f"Line {number}: {exc.title}")
                continue
            if account is not None:
                record = dataclasses.replace(record, account=account)
            before = store.label_of(record.account, record.identity)
            after = store.add_label(record)
            if before is not None and before.id == after.id:
                known += 1
            else:
                taken += 1
    return Imported(taken, known, tuple(refused))


def _read(line: str) -> LabelRecord:
    if len(line) > LINE_LIMIT:
        raise RequestError("it is too long.")
    try:
        data = json.loads(line)
    except ValueError:
        raise RequestError("it is not JSON.") from None
    except RecursionError:
        raise RequestError("it is nested too deeply.") from None
    record = from_json(LabelRecord, data, ignore_unknown=True)
    if not record.account or not record.identity:
        raise RequestError("account and identity must not be empty.")
    if not 0 <= record.weight <= 10:
        raise RequestError("At 'weight': expected a number from 0 to 10.")
    return dataclasses.replace(record, id=0)
