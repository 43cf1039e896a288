"""Images at http and https addresses: downloaded with limits on bytes, time and redirects; without torch.

What comes is not trusted: it is opened like any file, by `vertebra.preprocess.image_files`, which knows a few formats only.
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

Answer = TypeVar("Answer")
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
        """The address without user name, password and fragment; what follows a ``?`` stays, since it may name the image."""
        query = re.search(r"\?[^#]*", self.address)
        return _redacted(self.address) + (query.group() if query else "")

    def __str__(self) -> str:
        return self.name

    def load(self) -> bytes:
        """The bytes of the file.

        Raises:
            DataError: the address is wrong, does not answer in time, or answers with an error or with too much.
        """
        return download(self.address) if self.content is None else self.content

    def loaded(self) -> ImageUrl:
        """The same with its content, for those who read it more than once."""
        return replace(self, content=self.load())


def url_suffix(address: str) -> str:
    """What the name of the file at an address ends in, in lower case, such as ``.jpg``; empty where it ends in nothing."""
    path = re.split("[?#]", address.partition("://")[2])[0].partition("/")[2]
    return PurePosixPath(path).suffix.lower()


def content_type(address: str) -> str:
    """The content type of an address, such as ``image/png``; the content is not read.

    Raises:
        DataError: as `download`.
    """
    return _within(MAX_SECONDS, lambda: _request(address, 0)[0], _redacted(address))


def download(
    address: str, *, most_bytes: int = MAX_BYTES, seconds: float = MAX_SECONDS, redirects: int = MAX_REDIRECTS
) -> bytes:
    """The bytes at an address.

    Args:
        address: ``http://...`` or ``https://...``; redirects lead to such addresses only.
        most_bytes: more are refused.
        seconds: for all of it, from the search for the server to the last byte.
        redirects: how many are followed.

    Raises:
        DataError: the address is of another kind or wrong, does not answer in time, or answers with an error or with too much.
    """
    return _within(seconds, lambda: _request(address, most_bytes, seconds, redirects)[1], _redacted(address))


def _request(
    address: str, most_bytes: int, seconds: float = MAX_SECONDS, redirects: int = MAX_REDIRECTS
) -> tuple[str, bytes]:
    """The content type, and the content if ``most_bytes`` is not 0."""
    shown, end = _redacted(address), monotonic() + seconds
    _check(address)
    try:
        with _opener(redirects).open(request.Request(address), timeout=seconds) as answer:
            kind = answer.headers.get_content_type()
            if not most_bytes:
                return kind, b""
            _check_kind(kind, shown)
            return kind, _read(answer, most_bytes, end, shown)
    except DataError:
        raise
    except HTTPError as error:
        error.close()
        raise DataError(f"{shown}: {_refusal(error, redirects)}") from error
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        detail = " ".join(str(reason).split()) or type(error).__name__
        raise DataError(f"{shown}: cannot be downloaded ({detail[:200]}); check the address and the network") from error


def _check_kind(kind: str, shown: str) -> None:
    """Refuses content types of pages and streams before the download; everything else is opened."""
    if kind.startswith("text/"):
        raise DataError(f"{shown}: a page ({kind}) and no image; pass the address of the image file itself")
    if kind.startswith(("video/", "audio/", "multipart/")):
        raise DataError(f"{shown}: a stream ({kind}) and no image; take its results one by one, with stream()")


def _read(answer: Any, most_bytes: int, end: float, shown: str) -> bytes:
    promised = answer.headers.get("Content-Length", "")
    length = int(promised) if promised.isdecimal() else None
    if length is not None and length > most_bytes:
        raise DataError(f"{shown}: {length} bytes, and {most_bytes} are the most; download it and pass the file")
    content = bytearray()
    while block := answer.read1(BLOCK):
        content += block
        if len(content) > most_bytes:
            raise DataError(f"{shown}: more than {most_bytes} bytes; download it and pass the file")
        if monotonic() > end:
            raise TimeoutError("too slow")
    if length is not None and len(content) < length:
        raise DataError(f"{shown}: the connection ended after {len(content)} of {length} bytes; try again")
    return bytes(content)


def _within(seconds: float, work: Callable[[], Answer], shown: str) -> Answer:
    """The result of ``work``, or an error after this time. It runs in a thread, since urllib limits each wait but not all of them
    together; a thread that takes too long ends with its connection, or with the process."""
    answers: list[Answer] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            answers.append(work())
        except Exception as error:  # raised below, in the thread that asked
            errors.append(error)

    thread = Thread(target=run, name=f"download of {shown}", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise DataError(f"{shown}: not downloaded within {seconds:g} seconds; download it and pass the file")
    return answers[0]


class _Redirects(request.HTTPRedirectHandler):
    """Follows redirects to http and https, a few of them, and none from https to http."""

    def __init__(self, most: int) -> None:
        setattr(self, "max_redirections", most)  # noqa: B010  # an attribute of the class for type checkers

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
    """Refuses addresses that are not of http or https, or hold a password, which would stand in logs."""
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
