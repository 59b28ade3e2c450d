import io
import json
import threading
import time
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest

from localaws.aws_request import target_of
from localaws.emr_documents import ClusterDocument
from localaws.fault_rules import Delay, FaultRuleError, Rule, StepExit, Throttle, parse
from localaws.faults import Faults, Target, moment_of
from localaws.testing import client


def rule(**fields: Any) -> Rule:
    return parse(json.dumps([fields]))[0]


def throttle(**fields: Any) -> Rule:
    return rule(kind="throttle", service="emr", **fields)


def fires(faults: Faults, target: Target, occasions: int) -> list[bool]:
    return [faults.take(Throttle, target) is not None for _ in range(occasions)]


ANY = Target("emr", "DescribeCluster")


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"kind": "explode"}, "explode"),
        ({"kind": "step_exit", "cod": 3}, "cod"),
        ({"kind": "throttle"}, "service"),
        ({"kind": "throttle", "service": "emr", "operations": ["RunJobFlows"]}, "RunJobFlows"),
        ({"kind": "throttle", "service": "s3", "match": {"step": "a"}}, "step"),
        ({"kind": "throttle", "service": "emr", "match": {"key": "a"}}, "key"),
        ({"kind": "slow_start", "seconds": 1, "match": {"step": "a"}}, "step"),
        ({"kind": "slow_start", "seconds": 0}, "seconds"),
        ({"kind": "step_exit", "code": 0}, "code"),
        ({"kind": "error", "service": "s3", "code": "NoSuchThing"}, "NoSuchThing"),
        ({"kind": "capacity", "reason": "STEP_FAILURE"}, "reason"),
        ({"kind": "step_hang", "times": 0}, "times"),
        ({"kind": "step_hang", "probability": 0}, "probability"),
    ],
)
def test_rule_that_could_never_strike_is_refused(fields: dict[str, Any], wrong: str) -> None:
    with pytest.raises(FaultRuleError, match=wrong):
        rule(**fields)


@pytest.mark.parametrize("text", ["", "{}", "nonsense", '[{"kind": "step_hang"}, 3]'])
def test_what_is_no_list_of_rules_is_refused(text: str) -> None:
    with pytest.raises(FaultRuleError, match="expected a JSON list of fault rules"):
        parse(text)


def test_rule_lets_the_first_occasions_pass_and_strikes_so_often() -> None:
    faults = Faults([throttle(after=2, times=3)])
    assert fires(faults, ANY, 7) == [False, False, True, True, True, False, False]
    report = faults.report()[0]
    assert (report["seen"], report["fired"]) == (7, 3)


def test_probability_is_repeated_by_its_seed() -> None:
    runs = [fires(Faults([throttle(probability=0.3, seed=7)]), ANY, 200) for _ in range(2)]
    assert runs[0] == runs[1]
    assert 30 < sum(runs[0]) < 90  # 60 expected, standard deviation 6.5
    other = fires(Faults([throttle(probability=0.3, seed=8)]), ANY, 200)
    assert other != runs[0]


def test_first_rule_of_a_kind_strikes_and_the_next_takes_over_when_it_is_spent() -> None:
    faults = Faults([throttle(times=1), throttle(times=1), rule(kind="step_hang")])
    assert fires(faults, ANY, 3) == [True, True, False]
    assert [entry["fired"] for entry in faults.report()] == [1, 1, 0]


def test_removed_rule_strikes_no_more() -> None:
    faults = Faults([throttle(), throttle()])
    first, second = (entry["id"] for entry in faults.report())
    assert faults.remove(first)
    assert not faults.remove(first)
    assert [entry["id"] for entry in faults.report()] == [second]
    faults.remove()
    assert not faults
    assert fires(faults, ANY, 1) == [False]


def test_delay_ends_when_its_rule_is_removed() -> None:
    delay = rule(kind="delay", service="s3", seconds=60)
    assert isinstance(delay, Delay)
    faults = Faults([delay])
    waiting = threading.Thread(target=faults.hold, args=(delay, delay.seconds))
    began = time.monotonic()
    waiting.start()
    faults.remove()
    waiting.join(10)
    assert not waiting.is_alive()
    assert time.monotonic() - began < 10


def cluster(**request: Any) -> ClusterDocument:
    request = {"Name": "nightly-train", "Instances": FLEETS, **request}
    tags = {"stage": "train", "run": "r1"}
    return ClusterDocument(id="j-1", arn="arn", request=request, created=0.0, tags=tags)


FLEETS = {
    "InstanceFleets": [
        {
            "InstanceFleetType": "MASTER",
            "TargetOnDemandCapacity": 1,
            "InstanceTypeConfigs": [{"InstanceType": "m5.xlarge"}, {"InstanceType": "m6i.xlarge"}],
        },
        {
            "InstanceFleetType": "TASK",
            "TargetSpotCapacity": 4,
            "InstanceTypeConfigs": [{"InstanceType": "r5.xlarge"}, {"InstanceType": "r5.2xlarge"}],
        },
    ]
}


@pytest.mark.parametrize(
    ("match", "hit"),
    [
        ({}, True),
        ({"cluster": "nightly-*"}, True),
        ({"cluster": "hourly-*"}, False),
        ({"step": "evaluate"}, True),
        ({"step": "train"}, False),
        ({"tags": {"stage": "train", "run": "r?"}}, True),
        ({"tags": {"stage": "preprocess"}}, False),
        ({"tags": {"owner": "*"}}, False),
        ({"instance_type": "r5.*"}, True),
        ({"instance_type": "m5.*"}, False),  # the fleet accepts m6i too
        ({"market": "SPOT"}, True),
        ({"instance_type": "r5.*", "market": "ON_DEMAND"}, False),
        ({"instance_type": "m*", "market": "ON_DEMAND"}, True),
    ],
)
def test_step_rule_strikes_the_matching_cluster_and_step_only(
    match: dict[str, Any], hit: bool
) -> None:
    faults = Faults([rule(kind="step_exit", match=match)])
    struck = faults.take(StepExit, moment_of(cluster(), "evaluate"))
    assert (struck is not None) == hit


class CapturedError(Exception):
    """Carries a request that is not to be sent."""


def captured(service: str, call: str, **arguments: Any) -> AWSPreparedRequest:
    """Return the HTTP request that boto3 makes of a call."""

    def keep(request: AWSPreparedRequest, **_: Any) -> None:
        raise CapturedError(request)

    made = client(service, "http://127.0.0.1:1")
    made.meta.events.register("before-send", keep)
    with pytest.raises(CapturedError) as error:
        getattr(made, call)(**arguments)
    request: AWSPreparedRequest = error.value.args[0]
    return request


def environ_of(request: AWSPreparedRequest) -> dict[str, Any]:
    """Turn a client's request into what a WSGI server makes of it."""
    address = urlsplit(request.url)
    body: Any = request.body or b""  # typed as text or a file; bytes too in truth
    content = body.read() if hasattr(body, "read") else body
    content = content.encode() if isinstance(content, str) else content
    headers = {k.upper().replace("-", "_"): v for k, v in request.headers.items()}
    text = {f"HTTP_{k}": _text(v) for k, v in headers.items()}
    return {
        **text,
        "REQUEST_METHOD": request.method,
        "PATH_INFO": unquote(address.path),
        "QUERY_STRING": address.query,
        "CONTENT_LENGTH": str(len(content)),
        "wsgi.input": io.BytesIO(content),
    }


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


OBJECT = {"Bucket": "b", "Key": "dir/k"}
SOURCE = {"Bucket": "b", "Key": "old"}
PART = {"PartNumber": 1, "UploadId": "u"}


@pytest.mark.parametrize(
    ("call", "arguments", "operation"),
    [
        ("get_object", OBJECT, "GetObject"),
        ("get_object", {**OBJECT, "Range": "bytes=0-1"}, "GetObject"),
        ("head_object", OBJECT, "HeadObject"),
        ("put_object", {**OBJECT, "Body": b"x"}, "PutObject"),
        ("put_object", {**OBJECT, "Body": b"x", "IfNoneMatch": "*"}, "PutObject"),
        ("delete_object", OBJECT, "DeleteObject"),
        ("copy_object", {**OBJECT, "CopySource": SOURCE}, "CopyObject"),
        ("create_multipart_upload", OBJECT, "CreateMultipartUpload"),
        ("upload_part", {**OBJECT, **PART, "Body": b"x"}, "UploadPart"),
        ("upload_part_copy", {**OBJECT, **PART, "CopySource": SOURCE}, "UploadPartCopy"),
        ("complete_multipart_upload", {**OBJECT, "UploadId": "u"}, "CompleteMultipartUpload"),
        ("abort_multipart_upload", {**OBJECT, "UploadId": "u"}, "AbortMultipartUpload"),
        ("list_parts", {**OBJECT, "UploadId": "u"}, "ListParts"),
        ("get_object_tagging", OBJECT, "GetObjectTagging"),
        ("list_objects_v2", {"Bucket": "b", "Prefix": "dir/"}, "ListObjectsV2"),
        ("list_objects", {"Bucket": "b"}, "ListObjects"),
        ("delete_objects", {"Bucket": "b", "Delete": {"Objects": [{"Key": "k"}]}}, "DeleteObjects"),
        ("head_bucket", {"Bucket": "b"}, "HeadBucket"),
        ("create_bucket", {"Bucket": "b"}, "CreateBucket"),
        ("get_bucket_location", {"Bucket": "b"}, "GetBucketLocation"),
        ("list_buckets", {}, "ListBuckets"),
    ],
)
def test_s3_request_of_boto3_is_known_by_its_name(
    call: str, arguments: dict[str, Any], operation: str
) -> None:
    target = target_of(environ_of(captured("s3", call, **arguments)), lambda _: None)
    assert (target.service, target.operation) == ("s3", operation)
    assert target.bucket == arguments.get("Bucket", "")
    assert target.key == arguments.get("Key", arguments.get("Prefix", ""))


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("describe_cluster", {"ClusterId": "j-1"}),
        ("list_steps", {"ClusterId": "j-1"}),
        ("terminate_job_flows", {"JobFlowIds": ["j-1", "j-2"]}),
        ("add_job_flow_steps", {"JobFlowId": "j-1", "Steps": []}),
        ("add_tags", {"ResourceId": "j-1", "Tags": []}),
    ],
)
def test_emr_request_is_known_by_its_cluster(call: str, arguments: dict[str, Any]) -> None:
    clusters = {"j-1": cluster()}
    environ = environ_of(captured("emr", call, **arguments))
    target = target_of(environ, clusters.get)
    assert target.operation == boto3.client("emr", "us-east-1").meta.method_to_api_mapping[call]
    assert (target.cluster, target.tags["stage"]) == ("nightly-train", "train")
    assert json.loads(environ["wsgi.input"].read()).keys() == arguments.keys()  # put back


def test_run_job_flow_is_known_by_what_it_asks_for() -> None:
    request = {"Name": "new", "Instances": FLEETS, "Tags": [{"Key": "stage", "Value": "x"}]}
    target = target_of(environ_of(captured("emr", "run_job_flow", **request)), lambda _: None)
    assert (target.operation, target.cluster, target.tags) == ("RunJobFlow", "new", {"stage": "x"})
    assert ("SPOT", frozenset({"r5.xlarge", "r5.2xlarge"})) in target.capacity


def test_sts_request_is_known_by_its_action() -> None:
    environ = environ_of(captured("sts", "get_caller_identity"))
    target = target_of(environ, lambda _: None)
    assert (target.service, target.operation) == ("sts", "GetCallerIdentity")
