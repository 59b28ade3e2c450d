"""Turn the Spark settings of an EMR cluster into those of one machine. Pure."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

# EMR's interpreters, by any of the names they are called there.
PYTHON_COMMAND = re.compile(r"^(/usr/(local/)?bin/)?python(3(\.\d+)?)?$")

_CLUSTER_ONLY = re.compile(
    r"^spark\.("
    r"master|submit\.deployMode|home"
    r"|(driver|executor)\.(memory|cores|memoryOverhead|memoryOverheadFactor|resource\..*|host|port|bindAddress)"
    r"|executor\.(instances|pyspark\.memory)"
    r"|dynamicAllocation\..*|shuffle\.service\..*|yarn\..*|eventLog\..*|history\..*|emr\..*|blacklist\..*"
    r"|decommission.*|.*\.decommission\..*"
    r"|hadoop\.(yarn|fs\.s3[an]?|fs\.viewfs|mapreduce\.outputcommitter\.factory)\..*"
    r"|sql\.(parquet\.(output\.committer\.class|fs\.optimized\.committer\..*)|sources\.commitProtocolClass"
    r"|emr\..*)"
    r")$"
)

# Exported variables that name places of an EMR node.
_NODE_VARIABLES = {
    "JAVA_HOME", "SPARK_HOME", "HADOOP_HOME", "HADOOP_CONF_DIR", "SPARK_CONF_DIR", "TMPDIR",
}  # fmt: skip

# Of Spark's examples the one that tutorials and system tests of EMR run.
_PYTHON_EXAMPLES = {"SparkPi": "pi.py"}


def is_cluster_only(key: str) -> bool:
    """Tell whether a Spark property only makes sense on YARN, on EMR's Spark or over EMRFS."""
    return _CLUSTER_ONLY.match(key) is not None


def local_python(value: str, python: str) -> str:
    """Replace the name of an EMR node's python by the interpreter at hand."""
    return python if PYTHON_COMMAND.match(value) else value


def spark_defaults(configurations: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the properties of the ``spark-defaults`` classification."""
    properties: dict[str, str] = {}
    for configuration in configurations:
        if configuration.get("Classification") == "spark-defaults":
            properties.update(configuration.get("Properties") or {})
    return properties


def exported_environment(
    configurations: Iterable[Mapping[str, Any]], python: str
) -> dict[str, str]:
    """Return the variables that ``spark-env``'s ``export`` classification sets."""
    variables: dict[str, str] = {}
    for configuration in configurations:
        if configuration.get("Classification") != "spark-env":
            continue
        for nested in configuration.get("Configurations") or []:
            if nested.get("Classification") == "export":
                variables.update(nested.get("Properties") or {})
    return {
        name: local_python(value, python)
        for name, value in variables.items()
        if name not in _NODE_VARIABLES
    }


def python_example(name: str, spark_home: Path) -> Path | None:
    """Return the Python twin of one of Spark's JVM examples: their jar is not in the pyspark wheel."""
    twin = _PYTHON_EXAMPLES.get(name.removeprefix("org.apache.spark.examples."))
    return None if twin is None else spark_home / "examples/src/main/python" / twin


def mount_settings(mirror: Path, buckets: Iterable[str]) -> dict[str, str]:
    """Make ``s3://bucket/key`` in Spark mean the bucket's mirror.

    The pip pyspark has no S3A. ViewFileSystemOverloadScheme serves any scheme from a mount table; the
    whole bucket is the table's fallback, so every key resolves below ``<mirror>/<bucket>``.
    """
    settings = {}
    for scheme in ("s3", "s3a"):
        settings[f"spark.hadoop.fs.{scheme}.impl"] = (
            "org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme"
        )
        settings[f"spark.hadoop.fs.viewfs.overload.scheme.target.{scheme}.impl"] = (
            "org.apache.hadoop.fs.LocalFileSystem"
        )
    for bucket in buckets:
        settings[f"spark.hadoop.fs.viewfs.mounttable.{bucket}.linkFallback"] = (
            mirror / bucket
        ).as_uri()
    return settings


def properties_text(properties: Mapping[str, str]) -> str:
    """Write properties as a Java properties file, which spark-submit reads."""
    return "".join(f"{_escape(key)}={_escape(value)}\n" for key, value in properties.items())


def _escape(text: str) -> str:
    escaped = "".join(
        f"\\{char}" if char in "\\=:#! " else char if " " < char < "\x7f" else _unicode(char)
        for char in text
    )
    return escaped.replace("\\u000a", "\\n").replace("\\u0009", "\\t")


def _unicode(char: str) -> str:
    code_units = char.encode("utf-16-be")
    return "".join(f"\\u{code_units[i : i + 2].hex()}" for i in range(0, len(code_units), 2))
