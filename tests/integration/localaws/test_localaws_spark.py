import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from localaws.testing import Server, client, read_log
from localaws.testing import command_step as step
from localaws.testing import step_states as states
from localaws.testing import wait_for_end as end_of
from localaws.testing import wait_until as until

if TYPE_CHECKING:
    from mypy_boto3_emr.client import EMRClient
    from mypy_boto3_s3.client import S3Client

pytestmark = [pytest.mark.localaws, pytest.mark.spark]

PREFIX = "a b/day=2024-01-01/ü"  # a blank, an equals sign and an umlaut in every path

# Reads JSON by glob, writes partitioned Parquet twice, reports as JSON what it saw.
JOB = """
import json, os, sys
from pyspark import SparkFiles
from pyspark.sql import SparkSession
from helper import GREETING

source, target, report = sys.argv[1:]
spark = SparkSession.builder.getOrCreate()
for _ in range(2):
    rows = spark.read.json(source)
    rows.write.mode("overwrite").partitionBy("kind").parquet(target)
worker = spark.sparkContext.parallelize([0], 1).map(
    lambda _: (__import__("sys").executable, __import__("os").environ.get("WORKER"))
).first()
seen = {
    "greeting": GREETING,
    "rows": spark.read.parquet(target).count(),
    "kinds": sorted(r.kind for r in spark.read.parquet(target).select("kind").distinct().collect()),
    "master": spark.sparkContext.master,
    "shuffle": spark.conf.get("spark.sql.shuffle.partitions"),
    "python": sys.executable,
    "worker": worker,
    "driver_variable": os.environ.get("DRIVER"),
    "exported": os.environ.get("EXPORTED"),
    "archive": open("deps/inside.txt").read(),
    "archive_of_spark": open(os.path.join(SparkFiles.getRootDirectory(), "deps/inside.txt")).read(),
}
spark.createDataFrame([(json.dumps(seen),)], ["value"]).coalesce(1).write.mode("overwrite").text(report)
spark.stop()
"""

READ = """
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
print("lines:", sorted(r.value for r in spark.read.text(sys.argv[1]).collect()))
spark.range(1).write.mode("errorifexists").parquet(sys.argv[2])
"""

CONFIGURATIONS: Any = [
    {
        "Classification": "spark-defaults",
        "Properties": {
            "spark.sql.shuffle.partitions": "3",
            "spark.executor.memory": "200g",
            "spark.pyspark.python": "/usr/bin/python3.11",
            "spark.pyspark.driver.python": "/usr/bin/python3.11",
            "spark.executorEnv.PYSPARK_PYTHON": "/usr/bin/python3.11",
            "spark.executorEnv.WORKER": "w",
            "spark.yarn.appMasterEnv.PYSPARK_PYTHON": "/usr/bin/python3.11",
            "spark.yarn.appMasterEnv.DRIVER": "d",
        },
    },
    {
        "Classification": "spark-env",
        "Properties": {},
        "Configurations": [
            {
                "Classification": "export",
                "Properties": {"PYSPARK_PYTHON": "/usr/bin/python3.11", "EXPORTED": "e"},
            }
        ],
    },
]


def test_spark_reads_and_writes_what_s3_clients_see(
    emr: "EMRClient",
    s3: "S3Client",
    server: Server,
    mirror: Path,
    run_cluster: Callable[..., str],
) -> None:
    stage_code(s3)
    for number in range(2):
        lines = [json.dumps({"kind": kind, "value": number}) for kind in ("x y", "ü=1")]
        s3.put_object(
            Bucket="data",
            Key=f"{PREFIX}/in/part {number}.json.gz",
            Body=gzip.compress("\n".join(lines).encode()),
        )
    uris = [f"s3://data/{PREFIX}/{name}" for name in ("in/*.json.gz", "out", "report")]
    submit = ["spark-submit", "--deploy-mode", "cluster", "--master", "yarn"]
    submit += ["--conf", "spark.executor.instances=40", "--num-executors=40"]
    submit += ["--py-files", "s3://code/helper.zip", "--archives", "s3://code/deps.tar.gz#deps"]
    cluster_id = run_cluster(
        step(*submit, "s3://code/job.py", *uris), Configurations=CONFIGURATIONS
    )
    end_of(emr, cluster_id)
    assert states(emr, cluster_id) == ["COMPLETED"], stderr(s3, emr, cluster_id)

    written = listed(s3, f"{PREFIX}/out/")
    assert {key.rpartition("/")[0] for key in written} == {
        f"{PREFIX}/out",
        f"{PREFIX}/out/kind=x y",
        f"{PREFIX}/out/kind=ü%3D1",  # Spark escapes what would end a partition's name
    }
    assert f"{PREFIX}/out/_SUCCESS" in written
    assert not [key for key in written if key.endswith(".crc") or "_temporary" in key]
    for key in written:
        found = s3.get_object(Bucket="data", Key=key)
        assert found["Body"].read() == (mirror / "data" / key).read_bytes()

    report = next(key for key in listed(s3, f"{PREFIX}/report/") if "part-" in key)
    seen = json.loads(s3.get_object(Bucket="data", Key=report)["Body"].read())
    python = seen.pop("python")
    assert seen.pop("worker") == [python, "w"]
    assert not python.startswith("/usr/bin/")
    assert seen == {
        "greeting": "hi",
        "rows": 4,
        "kinds": ["x y", "ü=1"],
        "master": "local[2]",
        "shuffle": "3",
        "driver_variable": "d",
        "exported": "e",
        "archive": "inside",
        "archive_of_spark": "inside",
    }
    overwritten_object_is_read_anew(emr, s3, run_cluster, mirror, report)


def overwritten_object_is_read_anew(
    emr: "EMRClient",
    s3: "S3Client",
    run_cluster: Callable[..., str],
    mirror: Path,
    key: str,
) -> None:
    """The second half: boto3 overwrites what Spark wrote, Spark reads the new bytes."""
    path = mirror / "data" / key
    assert path.with_name(f".{path.name}.crc").exists()  # Spark left one: the trap is set
    s3.put_object(Bucket="data", Key=key, Body="neu ü\n".encode())
    # errorifexists: a directory left over from deleted objects must not count as output.
    s3.put_object(Bucket="data", Key="gone/x", Body=b"")
    s3.delete_object(Bucket="data", Key="gone/x")
    s3.put_object(Bucket="code", Key="read.py", Body=READ.encode())
    uri = f"s3://data/{key.rpartition('/')[0]}"
    cluster_id = run_cluster(step("spark-submit", "s3://code/read.py", uri, "s3://data/gone"))
    end_of(emr, cluster_id)
    assert states(emr, cluster_id) == ["COMPLETED"], stderr(s3, emr, cluster_id)
    step_id = emr.list_steps(ClusterId=cluster_id)["Steps"][0]["Id"]
    assert (
        read_log(s3, "logs", f"emr/{cluster_id}/steps/{step_id}/stdout.gz") == "lines: ['neu ü']\n"
    )


def test_killed_spark_step_leaves_nothing_in_the_bucket(
    emr: "EMRClient", s3: "S3Client", run_cluster: Callable[..., str], mirror: Path
) -> None:
    code = """
from pyspark.sql import SparkSession
import time
spark = SparkSession.builder.getOrCreate()
def slow(x):
    time.sleep(0.2 if x < 2 else 600)
    return (x,)
spark.sparkContext.parallelize(range(4), 4).map(slow).toDF(["x"]).write.parquet("s3://data/killed")
"""
    s3.put_object(Bucket="code", Key="slow.py", Body=code.encode())
    cluster_id = run_cluster(step("spark-submit", "s3://code/slow.py"))
    until(lambda: (mirror / "data/killed/_temporary").exists() or ended(emr, cluster_id), 180)
    assert listed(s3, "killed/") == []
    emr.terminate_job_flows(JobFlowIds=[cluster_id])
    end_of(emr, cluster_id)
    assert states(emr, cluster_id) == ["INTERRUPTED"], stderr(s3, emr, cluster_id)
    assert not (mirror / "data/killed").exists()


def ended(emr: "EMRClient", cluster_id: str) -> bool:
    state = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]["State"]
    return state.startswith("TERMINATED")


def stage_code(s3: "S3Client") -> None:
    s3.put_object(Bucket="code", Key="job.py", Body=JOB.encode())
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("helper.py", "GREETING = 'hi'\n")
    s3.put_object(Bucket="code", Key="helper.zip", Body=package.getvalue())
    dependencies = io.BytesIO()
    with tarfile.open(fileobj=dependencies, mode="w:gz") as tar:
        member = tarfile.TarInfo("inside.txt")
        member.size = len(b"inside")
        tar.addfile(member, io.BytesIO(b"inside"))
    s3.put_object(Bucket="code", Key="deps.tar.gz", Body=dependencies.getvalue())


def listed(s3: "S3Client", prefix: str) -> list[str]:
    found = s3.list_objects_v2(Bucket="data", Prefix=prefix).get("Contents", [])
    return [item["Key"] for item in found]


def stderr(s3: "S3Client", emr: "EMRClient", cluster_id: str) -> str:
    step_id = emr.list_steps(ClusterId=cluster_id)["Steps"][0]["Id"]
    return read_log(s3, "logs", f"emr/{cluster_id}/steps/{step_id}/stderr.gz")[-5000:]


def test_buckets_made_later_are_mounted_for_the_next_step(
    emr: "EMRClient", s3: "S3Client", server: Server, run_cluster: Callable[..., str]
) -> None:
    s3.create_bucket(Bucket="made-later.example")
    s3.put_object(Bucket="made-later.example", Key="in.txt", Body=b"line\n")
    s3.put_object(Bucket="code", Key="read.py", Body=READ.encode())
    sources = ["s3://made-later.example/in.txt", "s3a://made-later.example/out"]
    cluster_id = run_cluster(step("spark-submit", "s3://code/read.py", *sources))
    end_of(emr, cluster_id)
    assert states(emr, cluster_id) == ["COMPLETED"], stderr(s3, emr, cluster_id)
    found = client("s3", server.endpoint_url).list_objects_v2(
        Bucket="made-later.example", Prefix="out/"
    )
    assert found["Contents"][0]["Key"] == "out/_SUCCESS"
