"""One embedded AWS for all tests of this directory, and clients that reach nothing else."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from localaws.testing import Server, client, running

if TYPE_CHECKING:
    from mypy_boto3_emr.client import EMRClient
    from mypy_boto3_s3.client import S3Client

BUCKETS = ("data", "code", "logs")
Step = dict[str, Any]


# One for the directory: the server takes seconds to start, the tests do not share keys.
@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"LOCALAWS_KILL_GRACE_SECONDS": "1", "LOCALAWS_LOG_SECONDS": "0.3"}
    # A blank in the path: the mirror must be mounted under an escaped URI.
    directory = tmp_path_factory.mktemp("embedded aws")
    with running(directory, BUCKETS, env=settings) as found:
        yield found


@pytest.fixture
def s3(server: Server) -> "S3Client":
    found: S3Client = client("s3", server.endpoint_url)
    return found


@pytest.fixture
def emr(server: Server) -> "EMRClient":
    found: EMRClient = client("emr", server.endpoint_url)
    return found


@pytest.fixture
def mirror(server: Server) -> Path:
    return server.data_dir / "s3"


@pytest.fixture
def run_cluster(emr: "EMRClient") -> Callable[..., str]:
    """Start a transient cluster with steps; keywords go into RunJobFlow or its Instances."""

    def run(*steps: Step, keep_alive: bool = False, **request: Any) -> str:
        instances = {
            "MasterInstanceType": "m5.xlarge",
            "InstanceCount": 1,
            "KeepJobFlowAliveWhenNoSteps": keep_alive,
            **request.pop("Instances", {}),
        }
        request = {"Name": "test", "LogUri": "s3://logs/emr/", "Steps": list(steps), **request}
        return str(emr.run_job_flow(Instances=instances, **request)["JobFlowId"])  # type: ignore[arg-type]

    return run
