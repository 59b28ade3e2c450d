import base64
import hashlib
import http.client
import io
import os
import signal
import subprocess
import sys
import threading
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from localaws.testing import Server, client, running, start, stop

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

pytestmark = pytest.mark.localaws

MEBIBYTE = 1024 * 1024
# Each cannot be a file path, or is one that Hadoop keeps for itself.
SIDE_KEYS = (
    "folder/",
    "a//b",
    "../../outside",
    "x/./y",
    "/leading",
    "n" * 300,
    "out/_temporary/0/part",
    "out/.part.crc",
)
PATH_KEYS = ("plain", "d/e/f.json", "k=a b/ü €.txt", "a+b&c=d?e#f%20g", "日本/語")


def refusal(error: "pytest.ExceptionInfo[ClientError]") -> tuple[str, int]:
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def body(s3: "S3Client", key: str, **arguments: Any) -> bytes:
    return s3.get_object(Bucket="data", Key=key, **arguments)["Body"].read()


def keys(s3: "S3Client", prefix: str, bucket: str = "data") -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [item["Key"] for page in pages for item in page.get("Contents", [])]


@pytest.mark.parametrize("key", [*PATH_KEYS, *SIDE_KEYS])
def test_any_key_comes_back_under_its_own_name(s3: "S3Client", key: str) -> None:
    s3.put_object(Bucket="data", Key=key, Body=key.encode(), Metadata={"who": "me"})
    assert body(s3, key) == key.encode()
    assert s3.head_object(Bucket="data", Key=key)["Metadata"] == {"who": "me"}
    assert key in keys(s3, key)
    s3.delete_object(Bucket="data", Key=key)
    assert key not in keys(s3, "")


@pytest.mark.parametrize("key", PATH_KEYS)
def test_mirror_file_is_the_object(s3: "S3Client", mirror: Path, key: str) -> None:
    s3.put_object(Bucket="data", Key=f"mirror/{key}", Body=b"bytes")
    assert (mirror / "data/mirror" / key).read_bytes() == b"bytes"


def test_key_beside_its_own_prefix(s3: "S3Client") -> None:
    s3.put_object(Bucket="data", Key="beside/a", Body=b"file")
    s3.put_object(Bucket="data", Key="beside/a/b", Body=b"below")
    s3.put_object(Bucket="data", Key="beside/c/d", Body=b"below")
    s3.put_object(Bucket="data", Key="beside/c", Body=b"file")
    assert [body(s3, f"beside/{key}") for key in ("a", "a/b", "c", "c/d")] == [
        b"file",
        b"below",
        b"file",
        b"below",
    ]
    s3.delete_object(Bucket="data", Key="beside/c/d")
    assert keys(s3, "beside/") == ["beside/a", "beside/a/b", "beside/c"]


def test_deleting_the_last_object_leaves_no_directory(s3: "S3Client", mirror: Path) -> None:
    s3.put_object(Bucket="data", Key="empty/soon/x", Body=b"")
    s3.delete_objects(Bucket="data", Delete={"Objects": [{"Key": "empty/soon/x"}]})
    assert not (mirror / "data/empty").exists()


def test_overwriting_removes_the_checksum_file_spark_left(s3: "S3Client", mirror: Path) -> None:
    s3.put_object(Bucket="data", Key="crc/part", Body=b"old")
    stale = mirror / "data/crc/.part.crc"
    stale.write_bytes(b"crc of the old bytes")
    s3.put_object(Bucket="data", Key="crc/part", Body=b"new")
    assert not stale.exists()
    assert keys(s3, "crc/") == ["crc/part"]


def test_file_written_or_deleted_behind_the_api_is_noticed(s3: "S3Client", mirror: Path) -> None:
    s3.put_object(Bucket="data", Key="behind/x", Body=b"old", Metadata={"a": "b"})
    (mirror / "data/behind/x").write_bytes(b"rewritten")
    found = s3.get_object(Bucket="data", Key="behind/x")
    assert found["Body"].read() == b"rewritten"
    assert found["ETag"].strip('"') == hashlib.md5(b"rewritten").hexdigest()  # noqa: S324  (S3's ETag)
    assert found["Metadata"] == {}
    (mirror / "data/behind/x").unlink()
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket="data", Key="behind/x")
    assert refusal(error) == ("NoSuchKey", 404)


def test_objects_metadata_and_times_survive_a_restart(tmp_path: Path) -> None:
    every_key = [*PATH_KEYS, *SIDE_KEYS]
    with running(tmp_path, ["data"]) as server:
        s3 = client("s3", server.endpoint_url)
        for key in every_key:
            s3.put_object(
                Bucket="data",
                Key=key,
                Body=key.encode() * 3,
                ContentType="text/x",
                Metadata={"m": "1"},
                ChecksumAlgorithm="SHA256",
                Tagging="t=1",
            )
        before = {key: state(s3, key) for key in every_key}
    with running(tmp_path) as server:
        s3 = client("s3", server.endpoint_url)
        assert {key: state(s3, key) for key in every_key} == before
        assert keys(s3, "") == sorted(every_key)


def test_nothing_acknowledged_is_lost_and_nothing_half_written_appears_after_kill_9(
    tmp_path: Path,
) -> None:
    server = start(tmp_path, ["data"])
    acknowledged: dict[str, bytes] = {}
    attempted = set()

    def write() -> None:
        s3 = client("s3", server.endpoint_url)
        for number in range(100_000):
            key, content = f"kill/{number % 7}", f"{number}-".encode() * 50_000
            attempted.add(content)
            try:
                s3.put_object(Bucket="data", Key=key, Body=content)
            except Exception:  # noqa: BLE001  (the server is being killed: any error will do)
                return
            acknowledged[key] = content
            if number == 60:
                server.process.send_signal(signal.SIGKILL)

    writer = threading.Thread(target=write)
    writer.start()
    writer.join(60)
    server.process.wait()
    assert len(acknowledged) == 7
    with running(tmp_path) as again:
        s3 = client("s3", again.endpoint_url)
        found = {key: body(s3, key) for key in keys(s3, "kill/")}
        assert set(found) == set(acknowledged)
        assert set(found.values()) <= attempted
        # Only the write under way may have replaced its key; all others hold what was acknowledged.
        assert sum(found[key] != acknowledged[key] for key in found) <= 1
        for key, content in found.items():
            etag = s3.head_object(Bucket="data", Key=key)["ETag"].strip('"')
            assert etag == hashlib.md5(content).hexdigest()  # noqa: S324  (S3's ETag)


def state(s3: "S3Client", key: str) -> dict[str, Any]:
    found = s3.head_object(Bucket="data", Key=key, ChecksumMode="ENABLED")
    found_tags = s3.get_object_tagging(Bucket="data", Key=key)["TagSet"]
    names = ("ETag", "LastModified", "ContentType", "ContentLength", "Metadata", "ChecksumSHA256")
    return {**{name: found.get(name) for name in names}, "tags": found_tags}


def test_one_of_64_racers_creates_an_object(s3: "S3Client") -> None:
    def race(number: int) -> int:
        try:
            s3.put_object(Bucket="data", Key="race", Body=str(number).encode(), IfNoneMatch="*")
        except ClientError as error:
            return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
        return number + 1000

    with ThreadPoolExecutor(64) as pool:
        outcomes = list(pool.map(race, range(64)))
    winners = [outcome - 1000 for outcome in outcomes if outcome >= 1000]
    assert outcomes.count(412) == 63
    assert body(s3, "race") == str(winners[0]).encode()


def test_one_of_64_racers_replaces_a_version(s3: "S3Client") -> None:
    etag = s3.put_object(Bucket="data", Key="swap", Body=b"champion")["ETag"]

    def race(number: int) -> str:
        try:
            s3.put_object(Bucket="data", Key="swap", Body=str(number).encode(), IfMatch=etag)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "won"

    with ThreadPoolExecutor(64) as pool:
        outcomes = list(pool.map(race, range(64)))
    assert sorted(outcomes) == ["PreconditionFailed"] * 63 + ["won"]


def test_if_match_on_a_missing_key_is_not_found(s3: "S3Client") -> None:
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket="data", Key="missing", Body=b"", IfMatch='"abc"')
    assert refusal(error) == ("NoSuchKey", 404)


def upload(s3: "S3Client", key: str, parts: list[bytes], **conditions: Any) -> dict[str, Any]:
    upload_id = s3.create_multipart_upload(Bucket="data", Key=key, Metadata={"m": "1"})["UploadId"]
    listed = []
    for number, part in enumerate(parts, 1):
        etag = s3.upload_part(
            Bucket="data", Key=key, UploadId=upload_id, PartNumber=number, Body=part
        )["ETag"]
        listed.append({"PartNumber": number, "ETag": etag})
    return s3.complete_multipart_upload(  # type: ignore[return-value]
        Bucket="data",
        Key=key,
        UploadId=upload_id,
        MultipartUpload={"Parts": listed},  # type: ignore[typeddict-item]
        **conditions,
    )


def test_multipart_upload_and_its_conditions(s3: "S3Client") -> None:
    parts = [b"a" * 5 * MEBIBYTE, b"b" * 10]
    etag = upload(s3, "multi", parts, IfNoneMatch="*")["ETag"]
    digests = b"".join(hashlib.md5(part).digest() for part in parts)  # noqa: S324  (S3's ETag)
    assert etag.strip('"') == f"{hashlib.md5(digests).hexdigest()}-2"  # noqa: S324
    assert body(s3, "multi") == b"".join(parts)
    assert s3.head_object(Bucket="data", Key="multi")["Metadata"] == {"m": "1"}
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"wrong"'}):
        with pytest.raises(ClientError) as error:
            upload(s3, "multi", [b"other"], **condition)
        assert refusal(error) == ("PreconditionFailed", 412)
    assert body(s3, "multi") == b"".join(parts)
    upload(s3, "multi", [b"other"], IfMatch=etag)
    assert body(s3, "multi") == b"other"


def test_unknown_upload_is_no_such_upload(s3: "S3Client") -> None:
    with pytest.raises(ClientError) as error:
        s3.upload_part(Bucket="data", Key="k", UploadId="no", PartNumber=1, Body=b"x")
    assert refusal(error) == ("NoSuchUpload", 404)
    with pytest.raises(ClientError) as error:
        s3.complete_multipart_upload(
            Bucket="data",
            Key="k",
            UploadId="no",
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": "x"}]},
        )
    assert refusal(error) == ("NoSuchUpload", 404)


def test_aborted_upload_leaves_no_file(s3: "S3Client", server: Server) -> None:
    before = set((server.data_dir / "incoming").iterdir())
    upload_id = s3.create_multipart_upload(Bucket="data", Key="ab")["UploadId"]
    s3.upload_part(Bucket="data", Key="ab", UploadId=upload_id, PartNumber=1, Body=b"x")
    assert set((server.data_dir / "incoming").iterdir()) > before
    s3.abort_multipart_upload(Bucket="data", Key="ab", UploadId=upload_id)
    assert set((server.data_dir / "incoming").iterdir()) == before


def test_refused_upload_leaves_no_file_and_no_change(s3: "S3Client", server: Server) -> None:
    before = set((server.data_dir / "incoming").iterdir())
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket="no-such-bucket", Key="k", Body=b"x")
    assert refusal(error) == ("NoSuchBucket", 404)
    s3.put_object(Bucket="data", Key="tagged", Body=b"old")
    with pytest.raises(ClientError) as error:  # refused by moto after it made the new object
        s3.put_object(Bucket="data", Key="tagged", Body=b"new", Tagging="aws:reserved=1")
    assert refusal(error)[0] == "InvalidTag"
    assert body(s3, "tagged") == b"old"
    assert set((server.data_dir / "incoming").iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"ContentMD5": base64.b64encode(b"0" * 16).decode()}, "BadDigest"),
        ({"ContentMD5": "short"}, "InvalidDigest"),
        ({"ChecksumCRC32": "AAAAAA=="}, "BadDigest"),
        ({"ChecksumSHA256": base64.b64encode(b"0" * 32).decode()}, "BadDigest"),
        ({"ChecksumSHA1": base64.b64encode(b"0" * 20).decode()}, "BadDigest"),
    ],
)
def test_wrong_checksum_is_refused(s3: "S3Client", arguments: dict[str, str], code: str) -> None:
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket="data", Key="damaged", Body=b"content", **arguments)  # type: ignore[arg-type]
    assert refusal(error) == (code, 400)
    assert keys(s3, "damaged") == []


def test_copy_keeps_bytes_and_metadata_and_honours_conditions(s3: "S3Client") -> None:
    s3.put_object(Bucket="data", Key="from", Body=b"bytes", Metadata={"a": "b"})
    source: Any = {"Bucket": "data", "Key": "from"}
    s3.copy_object(Bucket="data", Key="to/ü", CopySource=source)
    assert body(s3, "to/ü") == b"bytes"
    assert s3.head_object(Bucket="data", Key="to/ü")["Metadata"] == {"a": "b"}
    with pytest.raises(ClientError) as error:
        s3.copy_object(Bucket="data", Key="to/ü", CopySource=source, IfNoneMatch="*")
    assert refusal(error) == ("PreconditionFailed", 412)
    found = s3.copy_object(
        Bucket="data", Key="summed", CopySource=source, ChecksumAlgorithm="SHA256"
    )
    expected = base64.b64encode(hashlib.sha256(b"bytes").digest()).decode()
    assert found["CopyObjectResult"]["ChecksumSHA256"] == expected


@pytest.mark.parametrize(
    ("asked", "expected"), [("bytes=2-4", b"234"), ("bytes=7-", b"789"), ("bytes=-2", b"89")]
)
def test_range(s3: "S3Client", asked: str, expected: bytes) -> None:
    s3.put_object(Bucket="data", Key="range", Body=b"0123456789")
    found = s3.get_object(Bucket="data", Key="range", Range=asked)
    assert found["Body"].read() == expected
    assert found["ContentLength"] == len(expected)


def test_range_beyond_the_end_is_refused(s3: "S3Client") -> None:
    s3.put_object(Bucket="data", Key="short", Body=b"01")
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket="data", Key="short", Range="bytes=5-9")
    assert refusal(error) == ("InvalidRange", 416)


def test_listing_pages_and_folders(s3: "S3Client") -> None:
    expected = [f"pages/{number:04d}/x" for number in range(25)]
    for key in expected:
        s3.put_object(Bucket="data", Key=key, Body=b"")
    pages = list(
        s3.get_paginator("list_objects_v2").paginate(
            Bucket="data", Prefix="pages/", PaginationConfig={"PageSize": 10}
        )
    )
    assert [len(page["Contents"]) for page in pages] == [10, 10, 5]
    assert [item["Key"] for page in pages for item in page["Contents"]] == expected
    folders = s3.list_objects_v2(Bucket="data", Prefix="pages/", Delimiter="/")["CommonPrefixes"]
    assert [folder["Prefix"] for folder in folders] == [key[:-1] for key in expected]


def test_bucket_with_objects_cannot_be_deleted(s3: "S3Client", mirror: Path) -> None:
    s3.create_bucket(Bucket="passing")
    (mirror / "passing/spark-wrote").write_bytes(b"x")
    with pytest.raises(ClientError) as error:
        s3.delete_bucket(Bucket="passing")
    assert refusal(error) == ("BucketNotEmpty", 409)
    s3.delete_object(Bucket="passing", Key="spark-wrote")
    s3.delete_bucket(Bucket="passing")
    assert not (mirror / "passing").exists()


def test_older_versions_stay_readable_until_restart(s3: "S3Client", mirror: Path) -> None:
    s3.create_bucket(Bucket="versioned")
    s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket="versioned", Key="k", Body=b"one")["VersionId"]
    s3.put_object(Bucket="versioned", Key="k", Body=b"two")
    assert (mirror / "versioned/k").read_bytes() == b"two"
    older = s3.get_object(Bucket="versioned", Key="k", VersionId=first)["Body"].read()
    assert older == b"one"
    s3.delete_object(Bucket="versioned", Key="k")
    assert keys(s3, "", "versioned") == []
    assert not (mirror / "versioned/k").exists()
    (mirror / "versioned/k").write_bytes(b"three")  # as a Spark step would
    assert s3.get_object(Bucket="versioned", Key="k")["Body"].read() == b"three"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc for the peak memory")
def test_large_object_is_never_whole_in_memory(
    s3: "S3Client", server: Server, tmp_path: Path
) -> None:
    size = 256 * MEBIBYTE
    source = tmp_path / "large"
    with source.open("wb") as file:
        file.truncate(size)
    before = peak_memory(server)
    with source.open("rb") as file:
        s3.put_object(Bucket="data", Key="large", Body=file)
    s3.upload_file(str(source), "data", "large-multipart")
    received = 0
    for block in s3.get_object(Bucket="data", Key="large")["Body"].iter_chunks(MEBIBYTE):
        received += len(block)
    s3.copy_object(Bucket="data", Key="large-copy", CopySource={"Bucket": "data", "Key": "large"})
    assert received == size
    # Blocks of 1 MiB for a dozen parallel parts, and the allocator's slack: far below one object.
    assert peak_memory(server) - before < 96 * MEBIBYTE
    for key in ("large", "large-multipart", "large-copy"):
        s3.delete_object(Bucket="data", Key=key)


def peak_memory(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def test_connection_is_kept_alive_and_survives_an_unread_body(server: Server) -> None:
    address = urllib.parse.urlparse(server.endpoint_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
    connection.request("POST", "/_localaws/health", body=b"x" * 100_000)
    assert connection.getresponse().read()
    first = connection.sock
    connection.request("GET", "/_localaws/health")
    assert connection.getresponse().read()
    assert connection.sock is first
    connection.close()


def test_body_shorter_than_announced_is_not_stored(s3: "S3Client", server: Server) -> None:
    address = urllib.parse.urlparse(server.endpoint_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
    connection.putrequest("PUT", "/data/short-body")
    connection.putheader("Content-Length", "1000")
    connection.endheaders()
    connection.send(b"only this")
    connection.sock.shutdown(1)  # SHUT_WR: the client died
    response = connection.getresponse()
    assert response.status == 400
    assert b"IncompleteBody" in response.read()
    assert keys(s3, "short-body") == []


def test_service_it_does_not_offer_is_named(server: Server) -> None:
    with pytest.raises(ClientError) as error:
        client("sqs", server.endpoint_url).list_queues()
    assert refusal(error) == ("NotImplementedException", 501)
    assert "found a request for sqs" in str(error.value)


def test_sts_answers(server: Server) -> None:
    identity = client("sts", server.endpoint_url).get_caller_identity()
    assert identity["Account"] == "123456789012"


def test_host_beyond_loopback_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "localaws", "--host", "0.0.0.0", "--data-dir", str(tmp_path)]  # noqa: S104
    environment = {**os.environ, "PYTHONPATH": "include"}
    found = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert found.returncode == 2
    assert "--allow-remote" in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with running(tmp_path, ["data"]):
        command = [sys.executable, "-m", "localaws", "--port", "0", "--data-dir", str(tmp_path)]
        environment = {**os.environ, "PYTHONPATH": "include"}
        found = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, timeout=60
        )
        assert found.returncode == 1
        assert "another embedded AWS" in found.stderr


def test_form_stream_body_without_length_is_stored(s3: "S3Client") -> None:
    s3.upload_fileobj(io.BytesIO(b"z" * 100), "data", "fileobj")
    assert body(s3, "fileobj") == b"z" * 100


def test_stop_is_prompt_and_clean(tmp_path: Path) -> None:
    server = start(tmp_path)
    stop(server)
    assert server.process.returncode == 0
