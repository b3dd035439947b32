"""The names job in Spark, on two threads of one machine: python names_spark.py INPUT OUTPUT_DIR."""

import csv
import sys

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812, as all of Spark's documentation calls it

JUNK = ["NULL", "", "-", ".", "0", "/", "\\", "_"]
NAMES = {"primer_apellido": "PRIMERAPELLIDO", "segundo_apellido": "SEGUNDOAPELLIDO", "nombre": "NOMBRESTRABAJADOR"}


def people_of(rows: DataFrame) -> DataFrame:
    """Return the first row of each CURP; the ids grow with the place in the file, but are no line numbers."""
    names = [F.col(old).alias(new) for new, old in NAMES.items()]
    rows = rows.select(F.upper(F.trim("CURP")).alias("curp"), F.monotonically_increasing_id().alias("id"), *names)
    first = rows.groupBy("curp").agg(F.min(F.struct("id", *NAMES)).alias("row"))
    sex, year = F.substring("curp", 11, 1), F.substring("curp", 5, 2).try_cast("short")
    columns = {"sex": F.when(sex.isin("H", "M"), sex), "birth_year": year + 1900, "age": 112 - year}
    return first.select("curp", *(f"row.{name}" for name in NAMES)).withColumns(columns)


def counted(people: DataFrame, column: str, frequency: str) -> DataFrame:
    """Return how many people bear each name of a column."""
    counts = people.groupBy(F.col(column).alias("apellido")).agg(F.count("*").alias(frequency))
    return counts.where((F.col(frequency) >= 5) & ~F.col("apellido").isin(JUNK))


def write(table: DataFrame, path: str) -> None:
    """Write a small table as one CSV file; Spark's own writer makes a folder of them."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([table.columns, *table.collect()])


def main(path: str, output: str) -> None:
    """Write the people and the tables."""
    # Two threads need no 200 partitions, Spark's default for a shuffle.
    builder = SparkSession.builder.master("local[2]").config("spark.sql.shuffle.partitions", 4)
    spark = builder.config("spark.ui.enabled", False).getOrCreate()
    rows = spark.read.csv(path, sep="|", header=True, quote="", encoding="ISO-8859-1").fillna("")
    people_of(rows).write.parquet(f"{output}/people", compression="zstd")
    people = spark.read.parquet(f"{output}/people")  # reading them back is cheaper than finding them for each table

    first, second = counted(people, "primer_apellido", "frec_pri"), counted(people, "segundo_apellido", "frec_seg")
    apellidos = first.join(second, "apellido", "full").fillna(0)
    write(apellidos.orderBy(F.desc("frec_pri"), "apellido"), f"{output}/apellidos.csv")

    counts = {"hombres": F.count_if(F.col("sex") == "H"), "mujeres": F.count_if(F.col("sex") == "M")}
    columns = [column.alias(table) for table, column in counts.items()]
    nombres = people.groupBy("nombre").agg(*columns, F.bround(F.avg("age"), 2).alias("edad_media"))
    nombres = nombres.where(~F.col("nombre").isin(JUNK)).cache()
    for table in counts:
        found = nombres.where(F.col(table) >= 5).select("nombre", F.col(table).alias("frec"), "edad_media")
        total = found.agg(F.sum("frec")).first()[0]
        found = found.withColumn("prob", F.col("frec") / F.lit(total))
        write(found.orderBy(F.desc("frec"), "nombre"), f"{output}/{table}.csv")

    # A JVM that is not waited for would be missing from the processor time.
    gateway = spark.sparkContext._gateway
    spark.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
