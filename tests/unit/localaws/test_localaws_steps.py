from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localaws.spark_settings import is_cluster_only, mount_settings, properties_text
from localaws.steps import Command, Settings, StepError, translate

SETTINGS = Settings(
    endpoint_url="http://127.0.0.1:4566",
    python="/env/bin/python",
    spark_home=Path("/env/pyspark"),
    java_home=Path("/java"),
    mirror=Path("/data/s3"),
    buckets=("lake",),
)
IDENTITY = {"EMR_CLUSTER_ID": "j-1", "EMR_STEP_ID": "s-1"}


def command(*args: str, configurations: Any = (), settings: Settings = SETTINGS) -> Command:
    return translate("command-runner.jar", list(args), configurations, settings, IDENTITY)


def arguments(*args: str, **rest: Any) -> list[str]:
    """The arguments behind spark-submit's own first nine, which are the same for every step."""
    found = command("spark-submit", *args, **rest).argv
    assert found[:9] == [
        "/env/pyspark/bin/spark-submit",
        *("--master", "local[2]", "--deploy-mode", "client"),
        *("--driver-memory", "2g", "--properties-file", "spark-defaults.conf"),
    ]
    return found[9:]


def defaults(**properties: str) -> list[dict[str, Any]]:
    return [{"Classification": "spark-defaults", "Properties": properties}]


@pytest.mark.parametrize(
    "name", ["python", "python3", "python3.11", "/usr/bin/python3.11", "/usr/local/bin/python3.11"]
)
def test_emrs_python_is_the_running_interpreter(name: str) -> None:
    assert command(name, "-c", "pass").argv == ["/env/bin/python", "-c", "pass"]


def test_other_programs_are_left_alone() -> None:
    assert command("bash", "-c", "echo python3").argv == ["bash", "-c", "echo python3"]
    assert command("./venv/bin/python", "x.py").argv[0] == "./venv/bin/python"


def test_sparks_own_example_runs_as_its_python_twin() -> None:
    found = command("/usr/lib/spark/bin/run-example", "SparkPi", "10")
    assert found.argv[0] == "/env/pyspark/bin/spark-submit"
    assert found.argv[-2:] == ["/env/pyspark/examples/src/main/python/pi.py", "10"]
    assert any("pi.py" in note for note in found.notes)
    with pytest.raises(StepError, match="SparkTC"):
        command("run-example", "SparkTC")
    with pytest.raises(StepError, match="run-example"):
        command("run-example")


@pytest.mark.parametrize(
    "options",
    [
        ["--master", "yarn", "--deploy-mode", "cluster"],
        ["--master=yarn", "--deploy-mode=cluster"],
        ["--num-executors", "5", "--executor-memory", "40g", "--driver-memory", "20g"],
    ],
)
def test_options_of_a_cluster_are_dropped_and_noted(options: list[str]) -> None:
    assert arguments(*options, "app.py", "--master", "mine") == ["app.py", "--master", "mine"]
    assert command("spark-submit", *options, "app.py").notes


def test_files_of_spark_submit_are_fetched_and_arguments_are_not() -> None:
    found = command(
        "spark-submit",
        *("--py-files", "s3://c/a.zip,s3://c/b.zip", "--archives", "s3://c/deps.tar.gz#deps"),
        *("--files", "s3://c/conf.yaml", "--name", "n", "s3://c/jobs/main.py", "s3://lake/in"),
    )
    assert found.argv[9:] == [
        *("--py-files", "a.zip,b.zip", "--archives", "deps.tar.gz#deps"),
        *("--files", "conf.yaml", "--name", "n", "main.py", "s3://lake/in"),
    ]
    assert found.downloads == {
        "a.zip": "s3://c/a.zip",
        "b.zip": "s3://c/b.zip",
        "deps.tar.gz": "s3://c/deps.tar.gz",
        "conf.yaml": "s3://c/conf.yaml",
        "main.py": "s3://c/jobs/main.py",
    }
    assert found.archives == {"deps.tar.gz": "deps"}


def test_two_files_of_one_name_are_refused() -> None:
    with pytest.raises(StepError, match=r"two files named x\.zip"):
        command("spark-submit", "--py-files", "s3://a/x.zip,s3://b/x.zip", "s3://a/m.py")


def test_conf_wins_over_spark_defaults() -> None:
    configurations = defaults(**{"spark.a": "default", "spark.b": "kept"})
    found = command(
        "spark-submit", "--conf", "spark.a=x=y", "app.py", configurations=configurations
    )
    assert found.properties["spark.a"] == "x=y"
    assert found.properties["spark.b"] == "kept"
    assert "--conf" not in found.argv


@pytest.mark.parametrize(
    "key",
    [
        "spark.master",
        "spark.submit.deployMode",
        "spark.driver.memory",
        "spark.executor.cores",
        "spark.executor.memoryOverhead",
        "spark.executor.instances",
        "spark.dynamicAllocation.maxExecutors",
        "spark.yarn.maxAppAttempts",
        "spark.eventLog.dir",
        "spark.hadoop.fs.s3.impl",
        "spark.hadoop.fs.s3a.endpoint",
        "spark.sql.parquet.output.committer.class",
    ],
)
def test_settings_of_a_cluster_are_dropped(key: str) -> None:
    assert is_cluster_only(key)


@pytest.mark.parametrize(
    "key",
    [
        "spark.sql.shuffle.partitions",
        "spark.sql.ansi.enabled",
        "spark.driver.maxResultSize",
        "spark.driver.extraJavaOptions",
        "spark.executorEnv.OPENBLAS_NUM_THREADS",
        "spark.serializer",
        "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version",
    ],
)
def test_settings_that_matter_locally_stay(key: str) -> None:
    assert not is_cluster_only(key)


def test_interpreter_settings_of_emr_are_replaced_and_others_are_not() -> None:
    properties = {
        "spark.pyspark.python": "/usr/bin/python3.11",
        "spark.executorEnv.PYSPARK_PYTHON": "./deps/bin/python",
        "spark.yarn.appMasterEnv.PYSPARK_PYTHON": "/usr/bin/python3.11",
        "spark.yarn.appMasterEnv.MODE": "nightly",
    }
    found = command("spark-submit", "app.py", configurations=defaults(**properties))
    assert found.properties["spark.pyspark.python"] == "/env/bin/python"
    assert found.properties["spark.executorEnv.PYSPARK_PYTHON"] == "./deps/bin/python"
    assert found.environment["PYSPARK_PYTHON"] == "/env/bin/python"
    assert found.environment["MODE"] == "nightly"


def test_exported_variables_reach_the_step_but_not_places_of_a_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TMPDIR", "/here")
    exported = {"JAVA_HOME": "/usr/lib/jvm/java-17", "PYSPARK_PYTHON": "python3.11", "X": "1"}
    exported["TMPDIR"] = "/mnt/tmp"
    configurations = [
        {
            "Classification": "spark-env",
            "Configurations": [{"Classification": "export", "Properties": exported}],
        }
    ]
    found = command("bash", "-c", "x", configurations=configurations).environment
    assert found["JAVA_HOME"] == "/java"
    assert found["PYSPARK_PYTHON"] == "/env/bin/python"
    assert found["TMPDIR"] == "/here"
    assert found["X"] == "1"


def test_environment_leads_to_the_embedded_aws_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("PYTHONPATH", "AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "real")
    found = command("bash", "-c", "x").environment
    assert "real" not in found.values()
    assert found["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert "127.0.0.1" in found["NO_PROXY"]
    assert {name: found[name] for name in IDENTITY} == IDENTITY


def test_buckets_are_mounted_under_escaped_uris() -> None:
    found = mount_settings(Path("/a b/ü"), ["lake"])
    assert found["spark.hadoop.fs.viewfs.mounttable.lake.linkFallback"] == (
        "file:///a%20b/%C3%BC/lake"
    )


@pytest.mark.parametrize(
    ("jar", "args", "message"),
    [
        ("s3://x/app.jar", ["a"], "found 's3://x/app.jar'"),
        ("command-runner.jar", [], "expected a command"),
        ("command-runner.jar", ["spark-submit"], "expected an application file"),
        ("command-runner.jar", ["spark-submit", "--conf"], "expected a value behind --conf"),
        ("command-runner.jar", ["spark-submit", "--hdfs", "x", "a.py"], "--hdfs is not supported"),
    ],
)
def test_step_that_cannot_run_says_what_was_expected(
    jar: str, args: list[str], message: str
) -> None:
    with pytest.raises(StepError, match=message):
        translate(jar, args, [], SETTINGS, IDENTITY)


def test_spark_without_java_is_refused() -> None:
    with pytest.raises(StepError, match="expected a Java 17"):
        command("spark-submit", "app.py", settings=replace(SETTINGS, java_home=None))


def test_properties_file_survives_java_s_syntax() -> None:
    text = properties_text({"a:b": "x=y z\\ü\n", "k": "😀"})
    assert text == "a\\:b=x\\=y\\ z\\\\\\u00fc\\n\nk=\\ud83d\\ude00\n"
