"""Reads files at a URL, whole or in part: over HTTP with the standard library, from s3, gs and others through fsspec."""

from __future__ import annotations

import http.client
import os
import re
import time
import urllib.error
import urllib.request
from functools import lru_cache
from pathlib import Path
from typing import Any

from vertebra.errors import DataError, first_line, install_command

TIMEOUT = 30.0  # seconds without a byte
WAITS = (0.5, 1.0, 2.0, 4.0)  # seconds before each further attempt
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
MOST_BYTES = 1 << 30  # of a file that is read whole
HUB = "hf:"
_URL = re.compile(r"^([A-Za-z][A-Za-z0-9+]+):/+(?=[^/])")
_HINTS = {401: "it needs a login", 403: "access is denied", 404: "there is no such file", 410: "the file is gone"}


def is_remote(path: str | Path) -> bool:
    """Whether a path is a URL, also one with a single slash, as `pathlib` makes it."""
    return _URL.match(os.fspath(path)) is not None


def is_address(path: str | Path) -> bool:
    """Whether a data set is named by a URL, or by a name on the Hugging Face hub, rather than by a path."""
    return os.fspath(path).startswith(HUB) or is_remote(path)


def url_of(path: str | Path) -> str:
    """A URL, with both slashes."""
    return _URL.sub(lambda match: f"{match.group(1).lower()}://", os.fspath(path).replace("\\", "/"), count=1)


def read_range(url: str, start: int, stop: int) -> bytes:
    """The bytes of a part of a file.

    Args:
        url: as `url_of` gives it.
        start, stop: the first byte, and the one after the last.

    Raises:
        DataError: the file cannot be read, is shorter, or its server gives whole files only.
    """
    if not url.startswith(("http://", "https://")):
        content = _fsspec(url, start, stop)
    else:
        content = _http(url, (start, stop))
    if len(content) != stop - start:
        raise DataError(
            f"{url}: it has no bytes {start} to {stop - 1}; its index file is of another version, write it anew"
        )
    return content


def read_whole(url: str) -> bytes:
    """All bytes of a small file.

    Raises:
        MissingRemoteFile: there is no such file.
        DataError: the file cannot be read, or is larger than `MOST_BYTES`.
    """
    content = _http(url, None) if url.startswith(("http://", "https://")) else _fsspec(url, 0, MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise DataError(f"{url}: more than {MOST_BYTES >> 20} MB, too much for a list of files")
    return content


class MissingRemoteFile(DataError):
    """There is no file at a URL."""


def _http(url: str, part: tuple[int, int] | None) -> bytes:
    """A file or a part of it; attempts are repeated after errors of the network and of busy servers."""
    headers = {"User-Agent": "vertebra"}
    if part is not None:
        headers["Range"] = f"bytes={part[0]}-{part[1] - 1}"
    reason = ""
    for wait in (*WAITS, None):
        try:
            request = urllib.request.Request(url, headers=headers)  # the scheme is checked by the callers
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                return _body(response, url, part)
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"the server answers {error.code} {error.reason}"
            if error.code not in RETRIED:
                kind = MissingRemoteFile if error.code in (404, 410) else DataError
                raise kind(f"{url}: {_HINTS.get(error.code, reason)} (HTTP {error.code}); check the address") from None
        except (OSError, http.client.HTTPException) as error:
            reason = _network_reason(error)
        except ValueError as error:
            raise DataError(f"{url}: no address that can be read ({first_line(error)})") from None
        if wait is not None:
            time.sleep(wait)
    raise DataError(
        f"{url}: cannot be read after {len(WAITS) + 1} attempts ({reason}); check the network, then try again"
    )


def _body(response: Any, url: str, part: tuple[int, int] | None) -> bytes:
    if part is None:
        content: bytes = response.read(MOST_BYTES + 1)
        expected = response.headers.get("Content-Length")
        if expected is not None and expected.isdecimal() and len(content) < min(int(expected), MOST_BYTES):
            raise ConnectionError("the connection ended early")
        return content
    if response.status != 206:
        raise DataError(f"{url}: its server gives only whole files, and parts are needed (HTTP range requests)")
    content = response.read(part[1] - part[0] + 1)
    announced = response.headers.get("Content-Length")
    if announced is not None and announced.isdecimal() and len(content) < min(int(announced), part[1] - part[0]):
        raise ConnectionError("the connection ended early")
    return content


def _network_reason(error: BaseException) -> str:
    inner = getattr(error, "reason", error)
    return "no answer in time" if isinstance(inner, TimeoutError) else first_line(inner) or type(inner).__name__


def _fsspec(url: str, start: int, stop: int) -> bytes:
    """A part of a file of a file system that fsspec knows."""
    protocol = url.partition(":")[0]
    reason = ""
    for wait in (*WAITS, None):
        try:
            content: bytes = _file_system(protocol, os.getpid()).cat_file(url, start=start, end=stop)
            return content
        except FileNotFoundError:
            raise MissingRemoteFile(f"{url}: there is no such file; check the address") from None
        except PermissionError as error:
            raise DataError(f"{url}: access is denied ({first_line(error)}); check your credentials") from None
        except DataError:
            raise
        except Exception as error:  # of any kind: each file system has its own
            reason = first_line(error) or type(error).__name__
        if wait is not None:
            time.sleep(wait)
    raise DataError(
        f"{url}: cannot be read after {len(WAITS) + 1} attempts ({reason}); check the network, then try again"
    )


@lru_cache(maxsize=8)
def _file_system(protocol: str, process: int) -> Any:
    """A file system of fsspec, one for each process, since their connections do not survive a fork.

    Raises:
        DataError: a package is missing.
    """
    try:
        import fsspec

        return fsspec.filesystem(protocol, skip_instance_cache=True)
    except ImportError as error:
        raise DataError(
            f"{protocol}://: needs a package that is not installed ({first_line(error)}): {install_command('remote')}"
        ) from None
    except ValueError as error:
        raise DataError(f"{protocol}://: no known kind of address ({first_line(error)})") from None
