"""Do a cluster's real work: bootstrap checks, steps as processes, logs to LogUri."""

import gzip
import logging
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from localaws.emr_cluster import Ending, Outcome
from localaws.emr_documents import ClusterDocument, ClusterFiles, Json, StepDocument
from localaws.java import JavaNotFoundError, find_java_home
from localaws.runner import StepProcess
from localaws.s3_service import S3Service, split_uri
from localaws.steps import Command, Settings, StepError, translate

logger = logging.getLogger(__name__)

# log4j's lines, which Spark goes on writing after the Python traceback that matters.
_LOG4J = re.compile(r"^\d\d/\d\d/\d\d \d\d:\d\d:\d\d (TRACE|DEBUG|INFO|WARN) ")
_FAILURE_BYTES = 65536
LOG_NAMES = ("controller", "stdout", "stderr")
_POLL_SECONDS = 0.1


class LocalWorkplace:
    """Runs steps on this machine; see `emr_cluster.Workplace` for the interface."""

    def __init__(self, s3: S3Service, endpoint_url: str) -> None:
        self._start_seconds = float(os.environ.get("LOCALAWS_START_SECONDS", "0.3"))
        self._boot_seconds = float(os.environ.get("LOCALAWS_BOOT_SECONDS", "0.3"))
        # EMR ships the logs of running steps every five minutes.
        self._log_seconds = float(os.environ.get("LOCALAWS_LOG_SECONDS", "5"))
        self._s3 = s3
        self._files = ClusterFiles(s3.store.layout.clusters)
        self._endpoint_url = endpoint_url

    def save(self, cluster: ClusterDocument) -> None:
        """Keep the document on disk."""
        self._files.save(cluster)

    def seconds_to_start(self, cluster: ClusterDocument) -> float:  # noqa: ARG002  (the interface's)
        """Return how long STARTING lasts."""
        return self._start_seconds

    def seconds_to_boot(self, cluster: ClusterDocument) -> float:  # noqa: ARG002  (the interface's)
        """Return how long BOOTSTRAPPING lasts."""
        return self._boot_seconds

    def provision(
        self,
        cluster: ClusterDocument,  # noqa: ARG002  (the interface's)
        stopped: Callable[[], bool],  # noqa: ARG002  (the interface's)
    ) -> Ending | None:
        """Find instances: this machine is there."""
        return None

    def bootstrap(self, cluster: ClusterDocument) -> Ending | None:
        """Check that each script exists, and log that it was not run.

        Bootstrap actions install packages system-wide: on a laptop that must not happen.
        """
        node = f"node/{cluster.primary_instance}/bootstrap-actions"
        for number, action in enumerate(cluster.request.get("BootstrapActions") or [], 1):
            script = action["ScriptBootstrapAction"]
            path = str(script["Path"])
            if path.startswith("s3") and not self._s3.exists(path):
                return _bootstrap_failure(cluster, number, path)
            text = f"INFO bootstrap action {number} ({action['Name']}): {path} {script.get('Args') or []}\n"
            text += "INFO skipped: the embedded EMR installs nothing on this machine\n"
            self.ship(cluster, f"{node}/{number}/controller.gz", text.encode())
        return None

    def execute(
        self, cluster: ClusterDocument, step: StepDocument, stopped: Callable[[], bool]
    ) -> Outcome:
        """Run a step in a process group of its own; ship its logs meanwhile and at its end."""
        directory = self._s3.store.layout.work / step.id
        shutil.rmtree(directory, ignore_errors=True)
        process = StepProcess(directory)
        try:
            with self._s3.store.step_running():
                code, error = self._run(cluster, step, process, stopped)
            self._s3.synchronise()
            process.note(f"waitProcessCompletion ended with exit code {code}")
            self.ship_logs(cluster, step, process.logs, None)
            return (
                Outcome(ok=True) if code == 0 else self._failed(cluster, step, process, code, error)
            )
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _run(
        self,
        cluster: ClusterDocument,
        step: StepDocument,
        process: StepProcess,
        stopped: Callable[[], bool],
    ) -> tuple[int, str]:
        """Start the step and wait; its exit code, and why it could not start."""
        try:
            command = self.command(cluster, step)
            process.prepare(command, self._s3.download)
            process.start(command)
        except (StepError, OSError) as error:
            process.note(f"the step could not start: {error}")
            process.finish()
            return 127 if isinstance(error, FileNotFoundError) else 1, str(error)
        shipped: dict[str, int] = {}
        next_shipment = time.monotonic() + self._log_seconds
        while (code := process.wait(_POLL_SECONDS)) is None:
            if stopped():
                process.kill()
            elif time.monotonic() >= next_shipment:
                self.ship_logs(cluster, step, process.logs, shipped)
                next_shipment = time.monotonic() + self._log_seconds
        process.finish()
        return code, ""

    def command(self, cluster: ClusterDocument, step: StepDocument) -> Command:
        """Translate a step into what is run here.

        Raises:
            StepError: it cannot run here.
        """
        identity = {"EMR_CLUSTER_ID": cluster.id, "EMR_STEP_ID": step.id}
        configurations = cluster.request.get("Configurations") or []
        return translate(step.jar, step.args, configurations, self._settings(), identity)

    def _settings(self) -> Settings:
        import pyspark

        try:
            java_home = find_java_home()
        except JavaNotFoundError as error:
            logger.warning("Spark steps will fail: %s", error)
            java_home = None
        return Settings(
            endpoint_url=self._endpoint_url,
            python=sys.executable,
            spark_home=Path(pyspark.__file__).parent,
            java_home=java_home,
            mirror=self._s3.store.layout.mirror,
            buckets=tuple(self._s3.buckets()),
            master=os.environ.get("LOCALAWS_SPARK_MASTER", "local[2]"),
            driver_memory=os.environ.get("LOCALAWS_SPARK_DRIVER_MEMORY", "2g"),
        )

    def _failed(
        self,
        cluster: ClusterDocument,
        step: StepDocument,
        process: StepProcess,
        code: int,
        error: str,
    ) -> Outcome:
        """Say why, as EMR does: a reason, the error's last line, the file to read."""
        reason = f"Killed by {signal.Signals(-code).name}" if code < 0 else "Unknown Error."
        message = error or _last_error_line(process.logs / "stderr")
        failure = {"Reason": reason, "Message": message or f"exit code {code}, stderr is empty"}
        if cluster.log_uri:
            log = "controller" if error else "stderr"
            failure["LogFile"] = f"{cluster.log_uri}/{cluster.id}/steps/{step.id}/{log}.gz"
        return Outcome(ok=False, failure=failure)

    def ship_logs(
        self,
        cluster: ClusterDocument,
        step: StepDocument,
        logs: Path,
        shipped: dict[str, int] | None,
    ) -> None:
        """Put logs under LogUri, at EMR's own paths.

        Args:
            cluster: whose logs.
            step: whose logs.
            logs: their directory.
            shipped: sizes as last shipped, kept up to date: only what grew is sent. None at the end.
        """
        sizes = {} if shipped is None else shipped
        for name in LOG_NAMES:
            path = logs / name
            size = path.stat().st_size if path.exists() else 0
            if sizes.get(name) != size:
                content = path.read_bytes() if path.exists() else b""
                self.ship(cluster, f"steps/{step.id}/{name}.gz", content)
                sizes[name] = size

    def ship(self, cluster: ClusterDocument, name: str, content: bytes) -> None:
        """Write one gzipped log; a LogUri that cannot be written never stops a cluster, as on EMR."""
        if not cluster.log_uri:
            return
        try:
            bucket, prefix = split_uri(cluster.log_uri)
            key = "/".join(part for part in (prefix, cluster.id, name) if part)
            self._s3.write(bucket, key, gzip.compress(content, compresslevel=5))
        except (OSError, ValueError) as error:
            logger.warning("log %s of %s was not written: %s", name, cluster.id, error)


def error_detail(code: str, message: str, data: dict[str, str]) -> Json:
    """Return one of EMR's ErrorDetails; its ErrorData is a list of maps with one key each."""
    page = f"https://docs.aws.amazon.com/emr/latest/ManagementGuide/{code}.html"
    pairs = {**data, "public-doc": page}
    return {
        "ErrorCode": code,
        "ErrorMessage": message,
        "ErrorData": [{key: value} for key, value in pairs.items()],
    }


def _bootstrap_failure(cluster: ClusterDocument, number: int, path: str) -> Ending:
    instance = cluster.primary_instance
    message = (
        f"Master instance ({instance}) failed attempting to download bootstrap action {number} "
        f"file from S3: expected an object at {path}, found none"
    )
    data = {
        "primary-instance-id": instance,
        "bootstrap-action": str(number),
        "amazon-s3-path": path,
    }
    error = error_detail("BOOTSTRAP_FAILURE_BA_DOWNLOAD_FAILED_PRIMARY", message, data)
    return Ending("BOOTSTRAP_FAILURE", message, (error,))


def _last_error_line(path: Path) -> str:
    """Return stderr's last line that is not Spark's chatter, at most 1,000 characters."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _FAILURE_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    for line in reversed(lines):
        if line.strip() and not _LOG4J.match(line):
            return line.strip()[:1000]
    return ""
