"""Which mails are scored together by a model that has learned all the others: evidence from mail that was learned at once.

Mail found in folders is learned before anything is judged. What a model says of mail that it has learned proves nothing, and what
the cold base said of it before was said by another model, on another scale. So the mail is cut into parts, and each part is
scored by what the other parts teach.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from spamd.domain import AccountName, Identity, Label
from spamd.errors import ModelError
from spamd.model.copies import CopyMemory
from spamd.model.runtime import MailVector

FILE = "apart.json"
PARTS = 5
"""Each mail is scored by what four fifths of the others teach: a little less than the model that serves knows."""


def parts(mails: Sequence[tuple[str, MailVector, bool]], wanted: Collection[str]) -> dict[str, int]:
    """The part (0..PARTS-1) of each wanted mail, and of whatever else is nearly the same as one of them.

    mails: (name, vector, is it junk), in order of time. Each class is cut into runs: what came in one week speaks of the same
    things, and must not stand on both sides. A near-copy goes where the first of its kind went.
    """
    memory = CopyMemory(capacity=len(mails) + 1)
    kind: dict[str, str] = {}
    for name, vector, _ in mails:
        match = memory.match(vector)
        kind[name] = match.key if match else name
        if match is None:
            memory.remember(name, vector, Label.SPAM, 0.0)
    of_kind: dict[str, int] = {}
    by_class: defaultdict[bool, list[str]] = defaultdict(list)
    for name, _, junk in mails:
        if name in wanted:
            by_class[junk].append(name)
    for names in by_class.values():
        for index, name in enumerate(names):
            of_kind.setdefault(kind[name], index * PARTS // len(names))
    return {name: of_kind[kind[name]] for name in kind if kind[name] in of_kind}


def save(folder: Path, scores: Mapping[tuple[AccountName, Identity], float]) -> None:
    """What the trainer leaves beside its candidate: the probability of each mail by a fit without its part."""
    rows = [[account, identity, probability] for (account, identity), probability in scores.items()]
    (folder / FILE).write_text(json.dumps(rows, allow_nan=False), "utf-8")


def load(folder: Path) -> dict[tuple[AccountName, Identity], float]:
    """Empty where the trainer left nothing. ModelError if it is damaged."""
    try:
        rows = json.loads((folder / FILE).read_text("utf-8"))
        scores = {(AccountName(str(a)), Identity(str(i))): float(p) for a, i, p in rows}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ModelError("What the night says of mail from folders is damaged.", "") from error
    if not all(0 <= probability <= 1 for probability in scores.values()):
        raise ModelError("What the night says of mail from folders is damaged.", "")
    return scores
