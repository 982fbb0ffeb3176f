"""The same bytes -> features -> score on Spark, for mail hosts: mail files in, scores out.

Owner of pyspark. Each Python worker loads the model once; a mail that cannot be scored gives a row with an
error, never a failed job. Nothing is moved and nothing is learned here.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

    from spamd.model.scoring import Scorer

COLUMNS = "probability double, logit double, model string, error string"
HEAD_BYTES = 2**20
"""What is handed to the reader of one mail (it looks at the first 64 KiB): bounds a worker's memory."""


@functools.cache
def _scorer(model: str) -> Scorer:
    """One per worker process and model folder."""
    from spamd.model.bundle import Bundles
    from spamd.model.scoring import Scorer

    folder = Path(model)
    return Scorer(Bundles(folder / "personal", folder))


def score_bytes(raw: bytes | None, model: str) -> tuple[float | None, float | None, str, str]:
    """One mail: probability, logit, model id, and "" or what went wrong. Never raises."""
    from spamd.errors import SpamdError
    from spamd.message import vector

    if raw is None:
        return None, None, "", "no content"
    try:
        scorer = _scorer(model)
        score = scorer.score(vector.vectorise(bytes(raw[:HEAD_BYTES])))
    except (SpamdError, MemoryError) as exc:
        return None, None, "", str(exc)[:200]
    return score.probability, score.logit, score.model_id, ""


def score_column(content: Column | str, model: Path) -> Column:
    """A struct column (probability, logit, model, error) from a column of raw mail."""
    from pyspark.sql import functions

    folder = str(model)
    return functions.udf(lambda raw: score_bytes(raw, folder), COLUMNS)(content)


def score_frame(mails: DataFrame, model: Path, *, content: str = "content") -> DataFrame:
    """Every column but the mail itself, and the score's four. Works on batches and on streams."""
    scored = mails.withColumn("score", score_column(content, model)).drop(content)
    return scored.select(*[name for name in scored.columns if name != "score"], "score.*")


def mail_stream(spark: SparkSession, folder: str, *, glob: str = "*", per_trigger: int = 1000) -> DataFrame:
    """New files below a folder (a spool of .eml, a maildir's new/), as path, time and content."""
    return (
        spark.readStream.format("binaryFile")
        .schema("path string, modificationTime timestamp, length long, content binary")
        .option("pathGlobFilter", glob)
        .option("recursiveFileLookup", "true")
        .option("maxFilesPerTrigger", str(per_trigger))
        .load(folder)
        .select("path", "modificationTime", "content")
    )


def run(
    spark: SparkSession, source: str, target: str, checkpoint: str, model: Path, *, glob: str = "*"
) -> StreamingQuery:
    """Score what is there and what arrives; JSON lines in `target`, each mail once (by the checkpoint)."""
    scored = score_frame(mail_stream(spark, source, glob=glob), model)
    writer = scored.writeStream.format("json").outputMode("append")
    return writer.option("path", target).option("checkpointLocation", checkpoint).start()
