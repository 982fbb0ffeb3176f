"""`score`: judge mail files. Touches no mailbox and needs no daemon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spamd.cli.output import json_option, plain

if TYPE_CHECKING:
    from spamd.answers import Why
    from spamd.model.scoring import Scorer

MAX_FILE = 64 * 2**20  # bytes read of one file; the reader looks at the first 64 KiB of text anyway


def open_scorer() -> Scorer:
    """The model in force (personal, else shipped), without what was learned since it was made."""
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

    from spamd.judgement.evidence import UNSURE_AT_FIRST
    from spamd.judgement.policy import verdict_at
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
        if not raw.strip():
            click.echo(f"{plain(file)}: There is no mail in it", err=True)
            failed = True
            continue
        found = scorer.score(vector.vectorise(raw))
        verdict = verdict_at(found.probability, junk=threshold, unsure=UNSURE_AT_FIRST)
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


def explain_raw(raw: bytes) -> Why:
    """As the page's *Try it*, without a daemon: the model in force, the shipped threshold."""
    from dataclasses import replace

    from spamd.answers import Why
    from spamd.domain import Verdict
    from spamd.errors import RequestError
    from spamd.judgement.evidence import UNSURE_AT_FIRST
    from spamd.judgement.policy import verdict_at
    from spamd.model.explanation import look_at

    if not raw.strip():
        raise RequestError("There is no mail to look at.", "Give a raw mail file (.eml), with its headers.")
    scorer = open_scorer()
    threshold = scorer.card.junk_threshold
    empty = Why(
        judgement=None,
        verdict=Verdict.KEEP,
        probability=0.0,
        junk_threshold=threshold,
        unsure_threshold=UNSURE_AT_FIRST,
        model_id=scorer.card.id,
        explanation="No filter answers, so this is the last night's model and the shipped threshold. "
        "What you corrected since, and your account's own evidence, may say otherwise.",
        reasons=(),
        base_logit=0.0,
        personal_logit=0.0,
    )
    why = look_at(raw, scorer, empty)
    return replace(why, verdict=verdict_at(why.probability, junk=threshold, unsure=UNSURE_AT_FIRST))
