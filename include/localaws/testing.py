"""Start the embedded AWS for a test or the demo, and stop it for certain."""

import gzip
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

Found = TypeVar("Found")

# Generous: it starts in 2 s alone and has been seen to need 20 beside other work on two cores.
START_SECONDS = 120.0
STOP_SECONDS = 40.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Server:
    """A running embedded AWS.

    Attributes:
        endpoint_url: what AWS_ENDPOINT_URL must be.
        data_dir: where it keeps everything.
        process: its process.
    """

    endpoint_url: str
    data_dir: Path
    process: "subprocess.Popen[bytes]"

    def health(self) -> dict[str, Any]:
        """Return the health page."""
        return _health(self.endpoint_url)

    def log(self) -> str:
        """Return what it wrote so far."""
        return _log_file(self.data_dir).read_text(encoding="utf-8", errors="replace")


def environment(endpoint_url: str) -> dict[str, str]:
    """Return the variables with which boto3 talks to the embedded AWS and to nothing else."""
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": "localaws",
        "AWS_SECRET_ACCESS_KEY": "localaws",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def running(
    data_dir: Path, buckets: Iterable[str] = (), *, port: int = 0, env: dict[str, str] | None = None
) -> Iterator[Server]:
    """Run ``python -m localaws`` on a free port (or the given one) until the block ends.

    Args:
        data_dir: its data directory; kept.
        buckets: buckets to create if absent.
        port: 0 for a free one.
        env: variables to set for it, such as LOCALAWS_SPARK_MASTER.

    Raises:
        RuntimeError: it did not become ready; the message carries its log.
    """
    server = start(data_dir, buckets, port=port, env=env)
    try:
        yield server
    finally:
        stop(server)


def start(
    data_dir: Path, buckets: Iterable[str] = (), *, port: int = 0, env: dict[str, str] | None = None
) -> Server:
    """Start the server and wait until it is ready; see `running`."""
    data_dir.mkdir(parents=True, exist_ok=True)
    include = str(Path(__file__).resolve().parent.parent)
    python_path = os.pathsep.join(filter(None, [include, os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "localaws", "--port", str(port), "--data-dir", str(data_dir)]
    with _log_file(data_dir).open("wb") as log:
        process = subprocess.Popen(
            [*command, *(part for bucket in buckets for part in ("--bucket", bucket))],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": python_path, **(env or {})},
        )
    try:
        return Server(_wait_until_ready(process, data_dir), data_dir, process)
    except BaseException:
        process.kill()
        process.wait()
        raise


def stop(server: Server) -> None:
    """Stop the server in order; SIGKILL only when it does not end."""
    server.process.terminate()
    try:
        server.process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()
        raise RuntimeError(
            f"expected the embedded AWS to stop within {STOP_SECONDS} s, killed it; its log:\n{server.log()}"
        ) from None


def client(service: str, endpoint_url: str) -> Any:  # noqa: ANN401  (boto3 makes its clients at run time)
    """Return a boto3 client for the embedded AWS that needs no environment and never retries."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        service,  # type: ignore[call-overload]  # the stubs want a literal
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="localaws",
        aws_secret_access_key="localaws",  # noqa: S106  (nobody checks it)
        config=Config(retries={"max_attempts": 0}, max_pool_connections=64),
    )


def command_step(
    *args: str, action: str = "TERMINATE_CLUSTER", name: str = "step"
) -> dict[str, Any]:
    """Return a step, as RunJobFlow takes it, that runs a command through command-runner.jar."""
    jar = {"Jar": "command-runner.jar", "Args": list(args)}
    return {"Name": name, "ActionOnFailure": action, "HadoopJarStep": jar}


def wait_until(condition: Callable[[], Found], seconds: float = 30.0) -> Found:
    """Poll a condition until it holds; what it returned.

    Raises:
        TimeoutError: it did not hold in time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(_POLL_SECONDS)
    raise TimeoutError(f"expected {condition} to hold within {seconds} s, it did not")


def wait_for_end(emr: Any, cluster_id: str, seconds: float = 240.0) -> dict[str, Any]:  # noqa: ANN401  (see client)
    """Wait for a cluster's end; its Status. The default leaves Spark time on a busy machine."""

    def ended() -> dict[str, Any]:
        status: dict[str, Any] = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]
        return status if status["State"].startswith("TERMINATED") else {}

    return wait_until(ended, seconds)


def step_states(emr: Any, cluster_id: str) -> list[str]:  # noqa: ANN401  (see client)
    """Return the states of a cluster's steps, first step first."""
    steps = emr.list_steps(ClusterId=cluster_id)["Steps"]
    return [step["Status"]["State"] for step in reversed(steps)]


def read_log(s3: Any, bucket: str, key: str) -> str:  # noqa: ANN401  (see client)
    """Return a gzipped log as text."""
    content: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return gzip.decompress(content).decode("utf-8", "replace")


def _wait_until_ready(process: "subprocess.Popen[bytes]", data_dir: Path) -> str:
    """Return the endpoint once the health page answers; the start line in the log names the port."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        text = _log_file(data_dir).read_text(encoding="utf-8", errors="replace")
        _, found, rest = text.partition("(S3, EMR, STS) on ")
        endpoint_url, comma, _ = rest.partition(",")
        if found and comma:
            try:
                if _health(endpoint_url)["status"] == "ready":
                    return endpoint_url
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                pass  # bound, not yet serving
        time.sleep(_POLL_SECONDS)
    raise RuntimeError(
        f"expected the embedded AWS to be ready within {START_SECONDS} s; exit code "
        f"{process.poll()}, log:\n{_log_file(data_dir).read_text(errors='replace')}"
    )


def _health(endpoint_url: str) -> dict[str, Any]:
    with opener().open(f"{endpoint_url}/_localaws/health", timeout=5) as response:
        document: dict[str, Any] = json.load(response)
        return document


def opener() -> urllib.request.OpenerDirector:
    """Return what opens the server's own pages, past any proxy set for the outside world."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _log_file(data_dir: Path) -> Path:
    return data_dir / "localaws.log"
