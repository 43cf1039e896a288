"""Downloads images from http and https addresses, with limits on bytes, time and redirects; without torch.

The content is not trusted: `vertebra.preprocess.image_files` opens it like any file, and supports a few formats only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import PurePosixPath
from threading import Thread
from time import monotonic
from typing import Any, TypeVar
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from vertebra.errors import DataError

ResultT = TypeVar("ResultT")
MAX_BYTES = 100_000_000
MAX_SECONDS = 30.0
MAX_REDIRECTS = 5
BLOCK = 1 << 16


@dataclass(frozen=True)
class ImageUrl:
    """An image that is downloaded when it is read.

    Args:
        address: ``http://...`` or ``https://...``.
        content: the bytes of the file; None before it is downloaded.
    """

    address: str
    content: bytes | None = None

    @property
    def name(self) -> str:
        """The address without user name, password and fragment; the query stays, since it may name the image."""
        query = re.search(r"\?[^#]*", self.address)
        return _redacted(self.address) + (query.group() if query else "")

    def __str__(self) -> str:
        return self.name

    def load(self) -> bytes:
        """The bytes of the file.

        Raises:
            DataError: the address is wrong, the server does not answer in time or answers with an error, or the file is too large.
        """
        return download(self.address) if self.content is None else self.content

    def loaded(self) -> ImageUrl:
        """The same image with its content, to read it more than once."""
        return replace(self, content=self.load())


def url_suffix(address: str) -> str:
    """The suffix of the file name in an address, in lower case, such as ``.jpg``; empty if there is none."""
    path = re.split("[?#]", address.partition("://")[2])[0].partition("/")[2]
    return PurePosixPath(path).suffix.lower()


def content_type(address: str) -> str:
    """The content type of an address, such as ``image/png``; the content is not read.

    Raises:
        DataError: see `download`.
    """
    return _within(MAX_SECONDS, lambda: _request(address, 0)[0], _redacted(address))


def download(
    address: str, *, max_bytes: int = MAX_BYTES, seconds: float = MAX_SECONDS, redirects: int = MAX_REDIRECTS
) -> bytes:
    """The bytes at an address.

    Args:
        address: ``http://...`` or ``https://...``; redirects lead to such addresses only.
        max_bytes: larger files are refused.
        seconds: time limit for the whole download.
        redirects: the number of redirects to follow.

    Raises:
        DataError: the address is wrong or not http(s), the server does not answer in time or answers with an error, or the file is
            too large.
    """
    return _within(seconds, lambda: _request(address, max_bytes, seconds, redirects)[1], _redacted(address))


def _request(
    address: str, max_bytes: int, seconds: float = MAX_SECONDS, redirects: int = MAX_REDIRECTS
) -> tuple[str, bytes]:
    """The content type, and the content if ``max_bytes`` is not 0."""
    redacted, deadline = _redacted(address), monotonic() + seconds
    _check(address)
    try:
        with _opener(redirects).open(request.Request(address), timeout=seconds) as response:
            kind = response.headers.get_content_type()
            if not max_bytes:
                return kind, b""
            _check_kind(kind, redacted)
            return kind, _read(response, max_bytes, deadline, redacted)
    except DataError:
        raise
    except HTTPError as error:
        error.close()
        raise DataError(f"{redacted}: {_refusal(error, redirects)}") from error
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        detail = " ".join(str(reason).split()) or type(error).__name__
        raise DataError(
            f"{redacted}: cannot be downloaded ({detail[:200]}); check the address and the network"
        ) from error


def _check_kind(kind: str, redacted: str) -> None:
    """Refuses the content types of pages and streams before the download; other types are accepted."""
    if kind.startswith("text/"):
        raise DataError(f"{redacted}: a page ({kind}) and no image; pass the address of the image file itself")
    if kind.startswith(("video/", "audio/", "multipart/")):
        raise DataError(
            f"{redacted}: a stream ({kind}) and no image; take its results one by one: vertebra.Predictor(model).stream(...)"
        )


def _read(response: Any, max_bytes: int, deadline: float, redacted: str) -> bytes:
    declared = response.headers.get("Content-Length", "")
    length = int(declared) if declared.isdecimal() else None
    if length is not None and length > max_bytes:
        raise DataError(
            f"{redacted}: {length} bytes, more than the limit of {max_bytes}; download it and pass the file"
        )
    content = bytearray()
    while block := response.read1(BLOCK):
        content += block
        if len(content) > max_bytes:
            raise DataError(f"{redacted}: more than {max_bytes} bytes; download it and pass the file")
        if monotonic() > deadline:
            raise TimeoutError("too slow")
    if length is not None and len(content) < length:
        raise DataError(f"{redacted}: the connection ended after {len(content)} of {length} bytes; try again")
    return bytes(content)


def _within(seconds: float, task: Callable[[], ResultT], redacted: str) -> ResultT:
    """The result of ``task``, or an error after the time limit. It runs in a thread, since urllib limits single waits but not the
    total time; a thread over the limit ends with its connection, or with the process."""
    results: list[ResultT] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(task())
        except Exception as error:  # raised below, in the calling thread
            errors.append(error)

    thread = Thread(target=run, name=f"download of {redacted}", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise DataError(f"{redacted}: not downloaded within {seconds:g} seconds; download it and pass the file")
    return results[0]


class _Redirects(request.HTTPRedirectHandler):
    """Follows a limited number of redirects to http and https, and none from https to http."""

    def __init__(self, max_redirects: int) -> None:
        setattr(self, "max_redirections", max_redirects)  # noqa: B010  # an attribute of the class for type checkers

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        fp.close()  # urllib would read all of it
        scheme = newurl.partition(":")[0].lower()
        if scheme == "http" and req.type == "https":
            raise DataError(f"{_redacted(req.full_url)}: redirects from https to http, which is not followed")
        _check(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(redirects: int) -> request.OpenerDirector:
    """An opener of http and https addresses only; the default one of urllib also opens files, FTP and data."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        request.HTTPHandler(),
        request.HTTPSHandler(),
        request.HTTPDefaultErrorHandler(),
        request.HTTPErrorProcessor(),
        _Redirects(redirects),
    ):
        opener.add_handler(handler)
    opener.addheaders = [("User-Agent", "vertebra"), ("Accept", "image/*")]
    return opener


def _check(address: str) -> None:
    """Refuses addresses that are not http or https, or that contain a password, which logs would show."""
    try:
        parts = urlsplit(address)
        host, user = parts.hostname, parts.username
    except ValueError as error:
        raise DataError(f"{_redacted(address)}: not an address ({error})") from error
    if parts.scheme not in ("http", "https") or not host:
        raise DataError(f"{_redacted(address)}: not the address of an image; it must begin with http:// or https://")
    if user is not None:
        raise DataError(
            f"{_redacted(address)}: user names in addresses are not supported; download the file and pass it"
        )
    if any(character <= " " or character > "~" for character in address):
        raise DataError(
            f"{_redacted(address)}: has spaces or other letters than ASCII; percent-encode it, as browsers do"
        )


def _refusal(error: HTTPError, redirects: int) -> str:
    if "is not allowed" in str(error.reason):  # words of urllib
        return "redirects to what is neither http nor https, which is not followed"
    if error.code in (301, 302, 303, 307, 308):
        return f"more than {redirects} redirects; pass the address where they end"
    return f"the server answers {error.code} {' '.join(str(error.reason).split())[:100]}; check the address"


def _redacted(address: str) -> str:
    """An address for messages, without what may be secret: a user name with its password, and all after a ``?`` or ``#``."""
    scheme, _, rest = address.partition("://")
    host = re.split("[/?#]", rest)[0]
    if "@" in host or not re.fullmatch(
        r"[^:]*(:\d*)?|\[.*\](:\d*)?", host
    ):  # a password may hold any of these characters
        rest = rest.rpartition("@")[2]
    return f"{scheme}://{re.split('[?#]', rest)[0]}"
