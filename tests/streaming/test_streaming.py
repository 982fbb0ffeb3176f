"""The stream says what the daemon would say, on a real Spark."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from spamd import paths
from spamd.message import vector
from spamd.model.bundle import Bundles
from spamd.model.scoring import Scorer

pyspark = pytest.importorskip("pyspark", reason="pyspark is not installed (pip install '.[streaming]')")
if shutil.which("java") is None:
    pytest.skip("Spark needs Java (apt install default-jre-headless)", allow_module_level=True)

MAIL = Path(__file__).resolve().parents[2] / "spamd" / "demo" / "mail"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(600)
def test_each_mail_is_scored_once_as_the_daemon_scores_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)  # Spark's own choice is the first python3 on PATH
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")  # the machine's own name need not be known
    from pyspark.sql import SparkSession

    from spamd.streaming import run

    spool = tmp_path / "spool"
    spool.mkdir()
    first, second = sorted(MAIL.glob("spam/*.eml"))[:3], sorted(MAIL.glob("ham/*.eml"))[:3]
    for file in first:
        shutil.copy(file, spool)
    (spool / "broken.eml").write_bytes(b"\x00\xff" * 4000)
    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "1")
        .getOrCreate()
    )
    try:
        target = tmp_path / "scores"
        for wave in (first, second):  # the second run goes on where the first stopped
            for file in wave:
                shutil.copy(file, spool)
            query = run(spark, str(spool), str(target), str(tmp_path / "checkpoint"), paths.shipped_model())
            query.processAllAvailable()
            query.stop()
    finally:
        spark.stop()
    rows = [json.loads(line) for part in target.glob("*.json") for line in part.read_text().splitlines()]
    found = {Path(row["path"].removeprefix("file:")).name: row for row in rows}
    assert len(rows) == len(found) == len(first) + len(second) + 1
    scorer = Scorer(Bundles(tmp_path / "personal", paths.shipped_model()))
    for file in [*first, *second]:
        expected = scorer.score(vector.vectorise(file.read_bytes()))
        assert found[file.name]["probability"] == pytest.approx(expected.probability, abs=1e-6)
        assert found[file.name]["model"] == expected.model_id
    assert "probability" in found["broken.eml"]
