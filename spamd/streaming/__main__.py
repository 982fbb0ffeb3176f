"""`spark-submit` or `python -m spamd.streaming SOURCE TARGET --checkpoint DIR`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from pyspark.sql import SparkSession

from spamd import paths
from spamd.streaming import run


def main() -> None:
    parser = argparse.ArgumentParser(prog="spamd.streaming", description="Score mail files on Spark.")
    parser.add_argument("source", help="folder (or URL) where mail files appear")
    parser.add_argument("target", help="folder for the scores, JSON lines")
    parser.add_argument("--checkpoint", required=True, help="folder that remembers what was scored")
    parser.add_argument("--model", type=Path, default=paths.shipped_model(), help="model folder")
    parser.add_argument("--glob", default="*", help="only files of such a name")
    parser.add_argument("--once", action="store_true", help="score what is there, then stop")
    given = parser.parse_args()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else Spark takes the first python3 on PATH
    spark = SparkSession.builder.appName("spamd").getOrCreate()
    spark.sparkContext.setLogLevel("WARN")
    query = run(spark, given.source, given.target, given.checkpoint, given.model, glob=given.glob)
    if given.once:
        query.processAllAvailable()
        query.stop()
    else:
        query.awaitTermination()


main()
