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
from localaws.emr_documents import ClusterDocument, ClusterFiles, StepDocument
from localaws.java import JavaNotFoundError, find_java_home
from localaws.runner import StepProcess
from localaws.s3_service import S3Service, split_uri
from localaws.steps import Settings, StepError, translate

logger = logging.getLogger(__name__)

# log4j's lines, which Spark goes on writing after the Python traceback that matters.
_LOG4J = re.compile(r"^\d\d/\d\d/\d\d \d\d:\d\d:\d\d (TRACE|DEBUG|INFO|WARN) ")
_FAILURE_BYTES = 65536
_POLL_SECONDS = 0.1


class LocalWorkplace:
    """Runs steps on this machine; see `emr_cluster.Workplace` for the interface.

    Attributes:
        start_seconds, boot_seconds: how long the first two states last.
    """

    def __init__(self, s3: S3Service, endpoint_url: str) -> None:
        self.start_seconds = float(os.environ.get("LOCALAWS_START_SECONDS", "0.3"))
        self.boot_seconds = float(os.environ.get("LOCALAWS_BOOT_SECONDS", "0.3"))
        # EMR ships the logs of running steps every five minutes.
        self.log_seconds = float(os.environ.get("LOCALAWS_LOG_SECONDS", "5"))
        self._s3 = s3
        self._files = ClusterFiles(s3.store.layout.clusters)
        self._endpoint_url = endpoint_url

    def save(self, cluster: ClusterDocument) -> None:
        """Keep the document on disk."""
        self._files.save(cluster)

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
            self._ship(cluster, f"{node}/{number}/controller.gz", text.encode())
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
            self._ship_logs(cluster, step, process.logs, {})
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
        identity = {"EMR_CLUSTER_ID": cluster.id, "EMR_STEP_ID": step.id}
        configurations = cluster.request.get("Configurations") or []
        try:
            command = translate(step.jar, step.args, configurations, self._settings(), identity)
            process.prepare(command, self._s3.download)
            process.start(command)
        except (StepError, OSError) as error:
            process.note(f"the step could not start: {error}")
            process.finish()
            return 127 if isinstance(error, FileNotFoundError) else 1, str(error)
        shipped: dict[str, int] = {}
        next_shipment = time.monotonic() + self.log_seconds
        while (code := process.wait(_POLL_SECONDS)) is None:
            if stopped():
                process.kill()
            elif time.monotonic() >= next_shipment:
                self._ship_logs(cluster, step, process.logs, shipped)
                next_shipment = time.monotonic() + self.log_seconds
        process.finish()
        return code, ""

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

    def _ship_logs(
        self, cluster: ClusterDocument, step: StepDocument, logs: Path, shipped: dict[str, int]
    ) -> None:
        """Put the logs that grew since the last time under LogUri, at EMR's own paths."""
        for name in ("controller", "stdout", "stderr"):
            path = logs / name
            size = path.stat().st_size if path.exists() else 0
            if shipped.get(name) != size:
                content = path.read_bytes() if path.exists() else b""
                self._ship(cluster, f"steps/{step.id}/{name}.gz", content)
                shipped[name] = size

    def _ship(self, cluster: ClusterDocument, name: str, content: bytes) -> None:
        """Write one gzipped log; a LogUri that cannot be written never stops a cluster, as on EMR."""
        if not cluster.log_uri:
            return
        try:
            bucket, prefix = split_uri(cluster.log_uri)
            key = "/".join(part for part in (prefix, cluster.id, name) if part)
            self._s3.write(bucket, key, gzip.compress(content, compresslevel=5))
        except (OSError, ValueError) as error:
            logger.warning("log %s of %s was not written: %s", name, cluster.id, error)


def _bootstrap_failure(cluster: ClusterDocument, number: int, path: str) -> Ending:
    instance = cluster.primary_instance
    message = (
        f"Master instance ({instance}) failed attempting to download bootstrap action {number} "
        f"file from S3: expected an object at {path}, found none"
    )
    error = {
        "ErrorCode": "BOOTSTRAP_FAILURE_BA_DOWNLOAD_FAILED_PRIMARY",
        "ErrorMessage": message,
        "ErrorData": [{"instance-id": instance, "bootstrap-action": str(number), "path": path}],
    }
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
