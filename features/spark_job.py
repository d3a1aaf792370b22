"""A command's work on Spark: its session, its events in, its table out; what goes wrong in a sentence.

Where Spark runs and with how much is Spark's own affair: spark-submit, SPARK_HOME and SPARK_CONF_DIR, or this machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from features.checkup import summary
from features.commands import now_us
from features.errors import RitornoError
from features.mapping import read_mapping
from features.spark import SparkLog
from features.spark_ingest import Examined, examine, gather, read

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@contextmanager
def spark_log(options: argparse.Namespace) -> Iterator[SparkLog]:
    """The log of --events, judged, by customer; bad rows are written to --quarantine. Raises RitornoError."""
    if not options.events:
        raise RitornoError("--engine spark: found no --events, expected Parquet: a file, a folder or a glob. Name it.")
    with _session() as spark:
        for option, place in (("--out", options.out), ("--quarantine", _quarantine(options))):
            _refuse_existing(spark, option, str(place))
        raw = read(spark, options.events, read_mapping(options.mapping, options.map))
        examined = examine(raw, now_us(), options.max_bad)
        try:
            _report(examined, _quarantine(options))
            log = gather(examined, options.partitions)
            yield log
            log.rows.unpersist()
        finally:
            examined.rows.unpersist()


def write(frame: DataFrame, out: str) -> int:
    """Write Parquet to a new folder; how many rows it has."""
    frame.write.parquet(out)
    rows: int = frame.sparkSession.read.parquet(out).count()
    return rows


@contextmanager
def _session() -> Iterator[SparkSession]:
    """The session that spark-submit or the environment describes; ended here if it was begun here."""
    try:
        from pyspark.errors import PySparkRuntimeError
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise RitornoError("--engine spark: found no pyspark, expected it. pip install 'ritorno[spark]'") from error
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas")  # it is only asked to pass Arrow on
    os.environ.setdefault(
        "PYSPARK_PYTHON", sys.executable
    )  # else any python3 on the path, which may know nothing of us
    is_ours = SparkSession.getActiveSession() is None
    try:
        spark = SparkSession.builder.appName("ritorno").getOrCreate()
    except PySparkRuntimeError as error:
        raise RitornoError(
            f"--engine spark: Spark did not start ({str(error)[:200]}), expected Java 17 or newer. Install it, or "
            "name it in JAVA_HOME."
        ) from error
    spark.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")  # else INT96, which has no time zone
    try:
        yield spark
    finally:
        if is_ours:
            spark.stop()


def _quarantine(options: argparse.Namespace) -> str:
    return options.quarantine or f"{str(options.out).rstrip('/')}-quarantine"


def _refuse_existing(spark: SparkSession, option: str, place: str) -> None:
    """Before hours of work rather than after."""
    path = spark._jvm.org.apache.hadoop.fs.Path(place)
    if path.getFileSystem(spark._jsc.hadoopConfiguration()).exists(path):
        raise RitornoError(f"{option}: found {place} already there, expected a new folder. Name another, or remove it.")


def _report(examined: Examined, quarantine: str) -> None:
    checkup = examined.checkup
    bad = sum(word.rows for word in examined.words["reason"])
    _say(f"{checkup.rows_read:,} rows read, {checkup.rows_read - bad:,} good, {bad:,} set aside")
    if checkup.findings:
        _say(summary(checkup.findings))
    if bad:
        examined.quarantine.write.parquet(quarantine)
        _say(f"bad rows, each with its reason: {quarantine}")


def _say(text: str) -> None:
    print(text)  # noqa: T201  # a command's voice
