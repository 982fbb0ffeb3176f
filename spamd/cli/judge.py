"""`score`: judge mail files. Touches no mailbox and needs no daemon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spamd.cli.output import json_option, plain

if TYPE_CHECKING:
    from spamd.model.scoring import Scorer

MAX_FILE = 64 * 2**20  # bytes read of one file; the reader looks at the first 64 KiB of text anyway


def open_scorer() -> Scorer:
    """The model in force (personal, else shipped) with what was learned since."""
    from spamd import paths
    from spamd.model.bundle import Bundles
    from spamd.model.scoring import Scorer

    here = paths.find()
    return Scorer(Bundles(here.personal_models, paths.shipped_model()))


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@json_option
def score(files: tuple[Path, ...], as_json: bool) -> int:
    """Judge raw mail files (.eml); "-" is standard input. One line each: probability, verdict, model, file.

    A file that cannot be read gives a line on stderr, the rest go on, and the exit code is 2.
    The verdict is the shipped threshold's: what your account really does also depends on its evidence.
    """
    import json
    import sys

    from spamd.domain import Verdict
    from spamd.message import vector

    scorer = open_scorer()
    threshold = scorer.card.junk_threshold
    failed = False
    for file in files:
        try:
            if str(file) == "-":
                raw = sys.stdin.buffer.read(MAX_FILE)
            else:
                with file.open("rb") as stream:
                    raw = stream.read(MAX_FILE)
        except OSError as exc:
            click.echo(f"{plain(file)}: {exc.strerror or exc}", err=True)
            failed = True
            continue
        found = scorer.score(vector.vectorise(raw))
        verdict = (
            Verdict.JUNK
            if found.probability >= threshold
            else Verdict.UNSURE
            if found.probability >= 0.5
            else Verdict.KEEP
        )
        if as_json:
            row = {
                "file": str(file),
                "probability": round(found.probability, 6),
                "logit": round(found.logit, 4),
                "verdict": verdict,
                "model": found.model_id,
            }
            click.echo(json.dumps(row, ensure_ascii=False))
        else:
            click.echo(f"{found.probability:.4f}  {verdict:<6}  {found.model_id}  {plain(file)}")
    return 2 if failed else 0
