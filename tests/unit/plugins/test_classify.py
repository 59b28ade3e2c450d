"""Real messages of EMR, Spark, Python and our own jobs, and the class that each belongs to."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from recsys_emr.classify import classify, classify_refusal, last_words
from recsys_emr.failures import NEXT_ACTION, Kind
from recsys_emr.outcome import FailedStep, Outcome
from recsys_emr.retry import RETRYABLE

CHATTER = "26/11/22 10:00:01 INFO SparkContext: Successfully stopped SparkContext\n"


def cluster(code: str, message: str) -> Outcome:
    """Return an end without a failed step: what surrounds the steps was at fault."""
    steps = (FailedStep("s-1", "preprocess", "CANCELLED", "Job terminated"),)
    return Outcome("TERMINATED_WITH_ERRORS", code, message, steps)


def step(reason: str = "Unknown Error.; s3://work/emr-logs/j-1/steps/s-1/stderr.gz") -> Outcome:
    steps = (FailedStep("s-1", "train", "FAILED", reason),)
    return Outcome("TERMINATED_WITH_ERRORS", "STEP_FAILURE", "Shut down as step failed", steps)


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("BOOTSTRAP_FAILURE", "On the master instance (i-0a), bootstrap action 1 returned a non-zero return code", Kind.BOOTSTRAP),
        ("BOOTSTRAP_FAILURE", "failed attempting to download bootstrap action 1 file from S3", Kind.BOOTSTRAP),
        ("INSTANCE_FLEET_TIMEOUT", "Cluster failed to provision the target capacity within 15 minutes", Kind.CAPACITY),
        ("INTERNAL_ERROR", "EC2 is out of capacity", Kind.CAPACITY),
        ("VALIDATION_ERROR", "The requested number of vCPU: VcpuLimitExceeded; you have requested more vCPU capacity than your limit", Kind.CAPACITY),
        ("VALIDATION_ERROR", "Your requested instance type (m7g.xlarge) is not supported in your requested Availability Zone", Kind.CAPACITY),
        ("INTERNAL_ERROR", "We currently do not have sufficient m5.xlarge: InsufficientInstanceCapacity", Kind.CAPACITY),
        ("VALIDATION_ERROR", "The requested instance type m6g.xlarge is not supported in the requested availability zone.", Kind.CAPACITY),
        ("INSTANCE_FAILURE", "All slaves in the job flow were terminated due to Spot", Kind.SPOT_LOSS),
        ("BOOTSTRAP_FAILURE", "On the master instance (i-0a), application provisioning failed", Kind.BOOTSTRAP),
        ("INSTANCE_FAILURE", "The master node was terminated by user or Spot interruption", Kind.SPOT_LOSS),
        ("INSTANCE_FAILURE", "Instance i-0a of the core fleet failed", Kind.SPOT_LOSS),
        ("INTERNAL_ERROR", "Request limit exceeded. (Service: AmazonEC2)", Kind.THROTTLED),
        ("VALIDATION_ERROR", "EMR_DefaultRole_V2 is not authorized to perform: ec2:RunInstances", Kind.PERMISSION),
        ("VALIDATION_ERROR", "The VPC/subnet configuration was invalid: No route to S3", Kind.BAD_CONFIGURATION),
        ("USER_REQUEST", "Terminated by user request", Kind.TERMINATED_BY_USER),
        ("USER_REQUEST", "Cluster auto-terminated: idle for 600 seconds.", Kind.TIME_OUT),
        ("INTERNAL_ERROR", "An internal error occurred", Kind.UNKNOWN),
        ("INTERNAL_ERROR", "", Kind.UNKNOWN),
    ],
)  # fmt: skip
def test_what_surrounds_the_steps(code: str, message: str, kind: Kind) -> None:
    failure = classify(cluster(code, message), "", "")
    assert failure.kind is kind
    assert failure.summary
    assert failure.next_action == NEXT_ACTION[kind]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("s3://lake/x: 31 of 100 lines are bad (31.00%), expected at most 1.00% (preprocess.bad_line_budget). Most frequent: no item (31)", Kind.BAD_DATA),
        ("s3://lake/x: expected one format, found a mix: events in a.json. One snapshot, one format.", Kind.BAD_DATA),
        ("the test window is empty: the snapshot spans 1.0 days. Shorten them or take a longer snapshot.", Kind.BAD_DATA),
        ("include/x.yaml is not a valid recommender configuration: k: expected an integer", Kind.BAD_CONFIGURATION),
        ("expected section.key=value, found 'k'", Kind.BAD_CONFIGURATION),
        ("S3 refused s3://lake/x: An error occurred (AccessDenied) when calling GetObject: Access Denied", Kind.PERMISSION),
        ("S3 refused s3://lake/x: An error occurred (SlowDown) when calling PutObject: Please reduce your request rate.", Kind.THROTTLED),
        ("the champion has other factors than its manifest says; publish it again", Kind.NAMED_ERROR),
    ],
)  # fmt: skip
def test_an_error_with_a_name(line: str, kind: Kind) -> None:
    failure = classify(step(), CHATTER, f"2026-11-22 INFO recommender: read\nerror: {line}\n")
    assert failure.kind is kind
    assert failure.summary == f"step train: {line}"


@pytest.mark.parametrize(
    ("stderr", "stdout", "kind"),
    [
        ("Exception in thread \"main\" java.lang.OutOfMemoryError: Java heap space\n\tat java.base/x\n", "", Kind.OUT_OF_MEMORY),
        ("26/11/22 10:00:00 ERROR YarnScheduler: Lost executor 2: Container killed by YARN for exceeding memory limits. 5.5 GB of 5.5 GB\n", "error: unexpected Py4JJavaError: An error occurred while calling o1.parquet (the traceback is above)\n", Kind.OUT_OF_MEMORY),
        ("", "error: unexpected OutOfMemoryException: Out of Memory Error: could not allocate block of size 256.0 KiB (the traceback is above)\n", Kind.OUT_OF_MEMORY),
        ("", "org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)\nerror: unexpected Py4JJavaError: An error occurred while calling o115.parquet. (the traceback is above)\n", Kind.OUT_OF_MEMORY),
        ("", "error: unexpected OutOfMemoryException: Out of Memory Error: failed to offload data block of size 256.0 KiB (9.7 GiB/9.7 GiB used) (the traceback is above)\n", Kind.OUT_OF_DISK),
        ("", "error: unexpected OSError: [Errno 28] No space left on device (the traceback is above)\n", Kind.OUT_OF_DISK),
        ("26/11/28 10:00:00 ERROR Executor: java.io.IOException: No space left on device\n", "", Kind.OUT_OF_DISK),
        ("", "Traceback\nMemoryError\nerror: unexpected MemoryError: Unable to allocate 9.1 GiB (the traceback is above)\n", Kind.OUT_OF_MEMORY),
        ("ExecutorLostFailure (executor 3 exited): Exit status: 137. Diagnostics: killed on request\n", "", Kind.OUT_OF_MEMORY),
        ("", "Traceback (most recent call last):\nModuleNotFoundError: No module named 'implicit'\n", Kind.MISSING_DEPENDENCY),
        ("", "error: unexpected ImportError: libgomp.so.1: cannot open shared object file: No such file (the traceback is above)\n", Kind.MISSING_DEPENDENCY),
        ("", "error: unexpected ClientError: An error occurred (403) when calling the HeadObject operation: Forbidden (the traceback is above)\n", Kind.PERMISSION),
        ("com.amazonaws.services.s3.model.AmazonS3Exception: Access Denied (Service: Amazon S3; Status Code: 403)\n", "error: unexpected Py4JJavaError: o1 (the traceback is above)\n", Kind.PERMISSION),
        ("Job aborted: ExecutorLostFailure (executor 7 exited) Reason: Container released on a *lost* node\n", "error: unexpected Py4JJavaError: o1 (the traceback is above)\n", Kind.SPOT_LOSS),
        ("", "usage: python -m recommender.jobs train\ntrain: error: the following arguments are required: --dataset\n", Kind.BAD_CONFIGURATION),
        ("", "error: unexpected ValueError: shapes (3,) and (4,) do not align (the traceback is above)\n", Kind.UNKNOWN),
        ("", "", Kind.UNKNOWN),
    ],
)  # fmt: skip
def test_what_the_driver_printed(stderr: str, stdout: str, kind: Kind) -> None:
    assert classify(step(), stderr + CHATTER, stdout).kind is kind


def test_a_warning_in_passing_is_no_cause() -> None:
    """S3 is throttled now and then and the job goes on: that must not earn a second cluster."""
    stderr = "26/11/22 10:00:00 WARN S3: SlowDown, retrying\nReason: Spot instance was reclaimed?\n"
    stdout = "error: unexpected ValueError: bad shape (the traceback is above)\n"
    failure = classify(step(), stderr, stdout)
    assert failure.kind is Kind.UNKNOWN
    assert "bad shape" in failure.summary


def test_without_logs_emrs_own_words_decide() -> None:
    assert classify(step("Killed by SIGKILL; exit code -9"), "", "").kind is Kind.OUT_OF_MEMORY
    reason = "Unknown Error.; error: expected one format, found a mix. One snapshot, one format."
    assert classify(step(reason), "", "").kind is Kind.BAD_DATA


def test_an_unknown_failure_shows_the_last_line_that_is_not_chatter() -> None:
    stderr = f"java.lang.IllegalStateException: odd\n\tat a.b.C(D.java:1)\n{CHATTER}"
    failure = classify(step(), stderr, "")
    assert failure.kind is Kind.UNKNOWN
    assert "java.lang.IllegalStateException: odd" in failure.summary


def test_a_long_message_is_cut() -> None:
    assert len(classify(step(), "", f"error: {'x' * 5000}").summary) == 600


def test_last_words_are_the_last_ones_of_the_first_text_that_has_any() -> None:
    assert last_words("", "error: one\nerror: two\nlater\n", "error: three") == "two"
    assert last_words("An error: no, not at all", "Error: from spark-submit") == ""


def test_only_surroundings_are_worth_a_retry() -> None:
    assert {Kind.CAPACITY, Kind.SPOT_LOSS, Kind.THROTTLED} == RETRYABLE


def test_every_kind_has_a_next_action() -> None:
    assert set(NEXT_ACTION) == set(Kind)


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("ThrottlingException", "Rate exceeded", Kind.THROTTLED),
        ("AccessDeniedException", "User x is not authorized to perform: elasticmapreduce:RunJobFlow", Kind.PERMISSION),
        ("ValidationException", "Invalid release label", Kind.BAD_CONFIGURATION),
        ("InvalidRequestException", "The maximum number of active clusters is 500", Kind.CAPACITY),
        ("InternalServerError", "try again", Kind.UNKNOWN),
    ],
)  # fmt: skip
def test_a_refused_call(code: str, message: str, kind: Kind) -> None:
    error = ClientError({"Error": {"Code": code, "Message": message}}, "RunJobFlow")
    assert classify_refusal(error).kind is kind
