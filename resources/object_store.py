"""Objects in S3: uploads with checksums that appear complete or not at all, and reads that outlast faults.

Listings and ranged reads go through Arrow's client, which is fast. Uploads and deletions go through boto3, which sends
a checksum with every part, one request for a small object, and no markers for folders.
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
from pyarrow import fs

from speech.errors import StorageError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

T = TypeVar("T")
log = logging.getLogger("podlake")

SCHEME = "s3"
PART_BYTES = 16 << 20
"""An object of more bytes is uploaded in parts of this size. S3 allows 10 000 parts: 160 GB."""
_PARTS_AT_ONCE = 4
_READ_AHEAD_BYTES = 8 << 20
"""Bytes of each request of a stream, which reads an object from its beginning to its end."""
ATTEMPTS = 8
_LONGEST_WAIT_S = 8.0
_DIGEST = "sha256"
"""The metadata of an object that says the SHA-256 of all its bytes."""

_TRANSIENT = re.compile(
    r"INTERNAL_FAILURE|SLOW_DOWN|SlowDown|SERVICE_UNAVAILABLE|NETWORK_CONNECTION|REQUEST_TIMEOUT|THROTTLING"
    r"|curlCode|HTTP status 5\d\d|HTTP status 429"
)
"""Errors of Arrow's client after which the same request can succeed. A 503 for a read of a few bytes is one of them:
its body does not fit into the buffer of the read, and the client reports INTERNAL_FAILURE without a retry of its own."""
_DAMAGED_ON_THE_WAY = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "RequestTimeout"}
_UPLOAD_IS_OVER = {"NoSuchUpload", "InvalidPart"}


def open_filesystem(uri: str) -> tuple[fs.FileSystem, str]:
    """A file system of the bucket for reading, listing and deleting, and the root's path in it.

    Raises `StorageError` if the extra `aws` is missing.
    """
    inner, root = fs.FileSystem.from_uri(uri)
    _s3()
    return fs.PyFileSystem(_Bucket(inner)), root


def is_s3(filesystem: fs.FileSystem) -> bool:
    """Whether `open_filesystem` opened it."""
    return bool(filesystem.type_name == f"py::{SCHEME}")


def upload(path: Path, target: str) -> None:
    """Upload a file to `bucket/key`. Readers see all of it or nothing. Raises `OSError`."""
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = target.partition("/")
    size = path.stat().st_size
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").digest()
    try:
        if size <= PART_BYTES:
            _put(bucket, key, path.read_bytes(), sha256)
        else:
            _put_parts(bucket, key, path, size, sha256)
    except ClientError as error:
        raise OSError(f"{_code(error)}: {error.response['Error'].get('Message', error)}") from error
    except BotoCoreError as error:
        raise OSError(str(error)) from error


def duckdb_filesystem(filesystem: fs.FileSystem) -> AbstractFileSystem:
    """The file system for DuckDB, which then reads `s3://` without an extension."""
    from fsspec.implementations.arrow import ArrowFSWrapper

    class S3Files(ArrowFSWrapper):
        protocol = SCHEME

    return S3Files(filesystem, skip_instance_cache=True)


def _put(bucket: str, key: str, content: bytes, sha256: bytes) -> None:
    _repeat(
        lambda: _s3().put_object(
            Bucket=bucket, Key=key, Body=content, ChecksumSHA256=_base64(sha256), Metadata={_DIGEST: sha256.hex()}
        )
    )


def _put_parts(bucket: str, key: str, path: Path, size: int, sha256: bytes) -> None:
    client = _s3()
    place = {"Bucket": bucket, "Key": key}
    started = client.create_multipart_upload(**place, ChecksumAlgorithm="SHA256", Metadata={_DIGEST: sha256.hex()})
    upload_id = started["UploadId"]

    def put(index: int) -> dict[str, object]:
        with path.open("rb") as file:
            file.seek(index * PART_BYTES)
            content = file.read(PART_BYTES)
        checksum = _base64(hashlib.sha256(content).digest())
        sent = _repeat(
            lambda: client.upload_part(
                **place, PartNumber=index + 1, UploadId=upload_id, Body=content, ChecksumSHA256=checksum
            )
        )
        return {"PartNumber": index + 1, "ETag": sent["ETag"], "ChecksumSHA256": checksum}

    try:
        with ThreadPoolExecutor(_PARTS_AT_ONCE) as pool:
            parts = list(pool.map(put, range(-(-size // PART_BYTES))))
        _complete(place, upload_id, parts, sha256)
    except BaseException:
        _abort(place, upload_id)
        raise


def _complete(place: dict[str, str], upload_id: str, parts: list[dict[str, object]], sha256: bytes) -> None:
    """Complete the upload. If the first answer was lost, a repetition finds no upload, and the object says whose it is."""
    from botocore.exceptions import BotoCoreError, ClientError

    client = _s3()
    try:
        _repeat(lambda: client.complete_multipart_upload(**place, UploadId=upload_id, MultipartUpload={"Parts": parts}))
    except (ClientError, BotoCoreError) as error:
        if isinstance(error, ClientError) and _code(error) not in _UPLOAD_IS_OVER:
            raise
        try:
            found = client.head_object(**place)["Metadata"].get(_DIGEST)
        except (ClientError, BotoCoreError):
            raise error from None
        if found != sha256.hex():
            raise


def _abort(place: dict[str, str], upload_id: str) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        _s3().abort_multipart_upload(**place, UploadId=upload_id)
    except (ClientError, BotoCoreError) as error:
        if not isinstance(error, ClientError) or _code(error) != "NoSuchUpload":
            log.warning("An upload to %s could not be aborted, its parts stay: %s", place["Key"], error)


def _repeat(request: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer, after repetitions if the bytes were damaged on the way. boto3 itself repeats what servers refuse."""
    from botocore.exceptions import ClientError

    for attempt in range(ATTEMPTS):
        try:
            return request()
        except ClientError as error:
            if _code(error) not in _DAMAGED_ON_THE_WAY or attempt == ATTEMPTS - 1:
                raise
            _wait(attempt)
    raise AssertionError


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _wait(attempt: int) -> None:
    time.sleep(random.uniform(0.5, 1) * min(_LONGEST_WAIT_S, 0.1 * 2**attempt))  # noqa: S311 - no secret


def _s3() -> Any:
    """Threads share it. Credentials, region and `AWS_ENDPOINT_URL` come from the usual AWS sources."""
    return _client(os.getpid(), os.environ.get("AWS_ENDPOINT_URL"))


@lru_cache(maxsize=4)
def _client(process: int, endpoint: str | None) -> Any:  # noqa: ARG001 - a forked process needs its own
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise StorageError("A home on S3 needs the extra `aws`: pip install 'podlake[aws]'.") from error
    config = Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        connect_timeout=10, read_timeout=60, max_pool_connections=32,
    )  # fmt: skip
    return boto3.client("s3", config=config)


class _Bucket(fs.FileSystemHandler):
    """Arrow's S3 file system, whose reads are repeated after faults. Objects are written by `upload` alone."""

    def __init__(self, inner: fs.FileSystem) -> None:
        self._inner = inner

    def get_type_name(self) -> str:
        return SCHEME

    def normalize_path(self, path: str) -> str:
        return str(self._inner.normalize_path(path))

    def get_file_info(self, paths: Iterable[str]) -> list[fs.FileInfo]:
        return list(_outlasting(lambda: self._inner.get_file_info(list(paths))))

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        return list(_outlasting(lambda: self._inner.get_file_info(selector)))

    def open_input_file(self, path: str) -> pa.NativeFile:
        return pa.PythonFile(_Reader(_outlasting(lambda: self._inner.open_input_file(path))), mode="r")

    def open_input_stream(self, path: str) -> pa.NativeFile:
        reader = _Reader(_outlasting(lambda: self._inner.open_input_file(path)))
        return pa.PythonFile(io.BufferedReader(reader, _READ_AHEAD_BYTES), mode="r")

    def delete_file(self, path: str) -> None:
        """It is no error that the object is missing."""
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, _, key = path.partition("/")
        try:
            _s3().delete_object(Bucket=bucket, Key=key)
        except (ClientError, BotoCoreError) as error:
            raise OSError(f"{path} could not be deleted: {error}") from error

    def delete_dir(self, path: str) -> None:
        self._inner.delete_dir(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        self._inner.delete_dir_contents(path, missing_dir_ok=missing_dir_ok)

    def create_dir(self, path: str, recursive: bool) -> None:
        """Folders need not exist."""

    def _refuse(self, *_: object, **__: object) -> Any:
        raise NotImplementedError("Objects are written with resources.object_store.upload.")

    copy_file = move = delete_root_dir_contents = open_output_stream = open_append_stream = _refuse


class _Reader(io.RawIOBase):
    """A file whose ranged reads are repeated after faults."""

    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file
        self._size: int = file.size()
        self._position = 0

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._size - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        content: bytes = _outlasting(lambda: self._file.read_at(wanted, self._position)) if wanted else b""
        if len(content) != wanted:
            raise OSError(f"an object ended after {self._position + len(content)} of {self._size} bytes")
        self._position += wanted
        return content

    def readinto(self, buffer: Any, /) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _outlasting(request: Callable[[], T]) -> T:
    """The answer, after repetitions if a server or the network failed."""
    for attempt in range(ATTEMPTS - 1):
        try:
            return request()
        except OSError as error:
            if isinstance(error, FileNotFoundError) or not _TRANSIENT.search(str(error)):
                raise
            _wait(attempt)
    return request()
