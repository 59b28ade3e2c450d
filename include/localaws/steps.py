"""Translate an EMR step into a local command. Pure: nothing is read, started or downloaded here."""

import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from localaws.spark_settings import (
    PYTHON_COMMAND,
    exported_environment,
    is_cluster_only,
    local_python,
    mount_settings,
    python_example,
    spark_defaults,
)

# spark-submit options that describe a cluster; a laptop has none.
_DROPPED = {
    "--master",
    "--deploy-mode",
    "--driver-memory",
    "--driver-cores",
    "--executor-memory",
    "--executor-cores",
    "--num-executors",
    "--total-executor-cores",
    "--queue",
    "--principal",
    "--keytab",
    "--proxy-user",
}
# Options whose comma-separated files EMR fetches from S3 itself.
_FILES = {"--py-files", "--files", "--archives", "--jars"}
_KEPT = {
    "--name",
    "--class",
    "--packages",
    "--exclude-packages",
    "--repositories",
    "--driver-java-options",
    "--driver-library-path",
    "--driver-class-path",
}
_FLAGS = {"--verbose", "-v", "--supervise"}

# What a step inherits from the machine. Not PYTHONPATH: on EMR the code comes from the step's files.
_INHERITED = ("HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "SSL_CERT_FILE", "LD_LIBRARY_PATH")


class StepError(ValueError):
    """A step that cannot run here; the message becomes its FailureDetails."""


@dataclass(frozen=True)
class Settings:
    """What the machine offers a step.

    Attributes:
        endpoint_url: the embedded AWS itself.
        python: the interpreter that stands for EMR's.
        spark_home: the pyspark package.
        java_home: a Java that Spark starts on; None when the machine has none.
        mirror: directory of the bucket mirrors.
        buckets: buckets to mount for Spark.
        master: Spark master, ``local[N]``.
        driver_memory: JVM heap, as spark-submit takes it.
        region: AWS region.
    """

    endpoint_url: str
    python: str
    spark_home: Path
    java_home: Path | None
    mirror: Path
    buckets: tuple[str, ...]
    master: str = "local[2]"
    driver_memory: str = "2g"
    region: str = "us-east-1"


@dataclass(frozen=True)
class Command:
    """A local command.

    Attributes:
        argv: program and arguments.
        environment: the whole environment.
        downloads: local file name -> ``s3://`` URI, to be fetched into the working directory.
        archives: local file name -> directory to unpack it into, as YARN does beside the driver.
        properties: lines of ``spark-defaults.conf``, empty unless it is a Spark step.
        notes: what was changed, for the controller log.
    """

    argv: list[str]
    environment: dict[str, str]
    downloads: dict[str, str] = field(default_factory=dict)
    archives: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


PROPERTIES_FILE = "spark-defaults.conf"


def translate(
    jar: str,
    args: list[str],
    configurations: Iterable[Mapping[str, Any]],
    settings: Settings,
    identity: Mapping[str, str],
) -> Command:
    """Translate a step's HadoopJarStep.

    Args:
        jar: the step's jar; only command-runner.jar runs here.
        args: its arguments.
        configurations: the cluster's Configurations, as in RunJobFlow.
        settings: what the machine offers.
        identity: EMR_CLUSTER_ID and EMR_STEP_ID.

    Raises:
        StepError: the step cannot run here.
    """
    if PurePosixPath(jar).name != "command-runner.jar":
        raise StepError(
            f"the embedded EMR runs command-runner.jar, found {jar!r}: use command-runner.jar"
        )
    if not args:
        raise StepError("expected a command in Args, found none: give e.g. ['spark-submit', ...]")
    configurations = list(configurations)
    environment = _environment(settings, identity)
    environment |= exported_environment(configurations, settings.python)
    program = PurePosixPath(args[0]).name
    if program == "spark-submit":
        return _spark_submit(args[1:], configurations, settings, environment)
    if program == "run-example":
        return _run_example(args[1:], configurations, settings, environment)
    found = settings.python if PYTHON_COMMAND.match(args[0]) else args[0]
    return Command(argv=[found, *args[1:]], environment=environment)


def _environment(settings: Settings, identity: Mapping[str, str]) -> dict[str, str]:
    """Build a step's environment from nothing, so that it cannot lean on the developer's shell."""
    host = re.sub(r"^https?://|:\d+$", "", settings.endpoint_url)
    bins = [str(Path(settings.python).parent), str(settings.spark_home / "bin")]
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment |= {
        "AWS_ENDPOINT_URL": settings.endpoint_url,
        "AWS_ACCESS_KEY_ID": "localaws",
        "AWS_SECRET_ACCESS_KEY": "localaws",
        "AWS_DEFAULT_REGION": settings.region,
        "AWS_REGION": settings.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": f"{host},127.0.0.1,localhost",
        "PYSPARK_PYTHON": settings.python,
        "PYSPARK_DRIVER_PYTHON": settings.python,
        "PYTHONUNBUFFERED": "1",
        "SPARK_HOME": str(settings.spark_home),
        # Spark resolves the machine's name for its address; on a laptop off-line that fails.
        "SPARK_LOCAL_IP": "127.0.0.1",
        **identity,
    }
    if sys.platform.startswith("linux"):
        # Java 17 encodes file names as the locale says; under POSIX a 'ü' in a key would become '?'.
        environment["LC_ALL"] = "C.UTF-8"
    if settings.java_home is not None:
        environment["JAVA_HOME"] = str(settings.java_home)
        bins.append(str(settings.java_home / "bin"))
    environment["PATH"] = os.pathsep.join([*bins, os.environ.get("PATH", os.defpath)])
    return environment


def _run_example(
    args: list[str],
    configurations: list[Mapping[str, Any]],
    settings: Settings,
    environment: dict[str, str],
) -> Command:
    name = args[0] if args else ""
    twin = python_example(name, settings.spark_home)
    if twin is None:
        raise StepError(f"run-example: the embedded EMR has SparkPi only, found {name!r}")
    found = _spark_submit([str(twin), *args[1:]], configurations, settings, environment)
    note = f"{name} is run as {twin.name}: the JVM examples are not in the pyspark package"
    return replace(found, notes=[note, *found.notes])


def _spark_submit(
    args: list[str],
    configurations: list[Mapping[str, Any]],
    settings: Settings,
    environment: dict[str, str],
) -> Command:
    if settings.java_home is None:
        raise StepError(
            "expected a Java 17, 11 or 8 for Spark, found none: install one, set JAVA_HOME"
        )
    options, rest = _split_options(args)
    if not rest:
        raise StepError("spark-submit: expected an application file behind the options, found none")
    properties = spark_defaults(configurations)
    fetched = _Fetched()
    kept: list[str] = []
    for name, value in options:
        if name == "--conf":
            key, _, text = value.partition("=")
            properties[key.strip()] = text
        elif name in _FILES:
            kept += [name, fetched.localise(value, unpack=name == "--archives")]
        elif name in _DROPPED:
            fetched.notes.append(f"{name} {value} dropped: it describes a cluster")
        else:
            kept += [name, value] if value else [name]
    application = fetched.localise(rest[0])
    properties = _local_properties(properties, settings, environment, fetched.notes)
    for name in ("spark.files", "spark.archives", "spark.jars", "spark.submit.pyFiles"):
        if name in properties:
            properties[name] = fetched.localise(properties[name], unpack=name == "spark.archives")
    argv = [
        str(settings.spark_home / "bin/spark-submit"),
        *("--master", settings.master, "--deploy-mode", "client"),
        *("--driver-memory", settings.driver_memory, "--properties-file", PROPERTIES_FILE),
        *kept,
        application,
        *rest[1:],
    ]
    return Command(
        argv, environment, fetched.downloads, fetched.archives, properties, fetched.notes
    )


def _split_options(args: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Split spark-submit's own options from the application and its arguments."""
    options: list[tuple[str, str]] = []
    position = 0
    while position < len(args) and args[position].startswith("-"):
        name, equals, value = args[position].partition("=")
        name = "--conf" if name == "-c" else name
        position += 1
        if name in _FLAGS:
            options.append((name, ""))
            continue
        if name not in _DROPPED | _FILES | _KEPT | {"--conf"}:
            raise StepError(f"spark-submit: option {name} is not supported by the embedded EMR")
        if not equals:
            if position == len(args):
                raise StepError(f"spark-submit: expected a value behind {name}, found none")
            value = args[position]
            position += 1
        options.append((name, value))
    return options, args[position:]


def _local_properties(
    properties: dict[str, str],
    settings: Settings,
    environment: dict[str, str],
    notes: list[str],
) -> dict[str, str]:
    """Drop what only a cluster understands, replace EMR's python, mount the buckets."""
    kept: dict[str, str] = {}
    for key, value in properties.items():
        driver_variable = key.removeprefix("spark.yarn.appMasterEnv.")
        if driver_variable != key:
            # In cluster mode this is the driver's environment; here the driver is the step.
            environment[driver_variable] = local_python(value, settings.python)
        elif is_cluster_only(key):
            notes.append(f"{key}={value} dropped: it makes no sense on one machine")
        else:
            kept[key] = local_python(value, settings.python)
    return {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.warehouse.dir": "spark-warehouse",
        **kept,
        **mount_settings(settings.mirror, settings.buckets),
    }


class _Fetched:
    """Collects the files a step needs beside it, each name once."""

    def __init__(self) -> None:
        self.downloads: dict[str, str] = {}
        self.archives: dict[str, str] = {}
        self.notes: list[str] = []

    def localise(self, uris: str, *, unpack: bool = False) -> str:
        """Replace each ``s3://`` URI of a comma-separated list by a local file name."""
        return ",".join(
            self._one(uri.strip(), unpack=unpack) for uri in uris.split(",") if uri.strip()
        )

    def _one(self, uri: str, *, unpack: bool) -> str:
        address, hash_sign, alias = uri.partition("#")
        if not address.startswith(("s3://", "s3a://", "s3n://")):
            return uri
        name = PurePosixPath(address).name
        if self.downloads.get(name, address) != address:
            raise StepError(
                f"two files named {name} would meet in the step's directory: "
                f"{self.downloads[name]} and {address}; rename one"
            )
        self.downloads[name] = address
        if unpack:
            self.archives[name] = alias or name
        return f"{name}{hash_sign}{alias}"
