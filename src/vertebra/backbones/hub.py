"""Downloads of published weights that fail within seconds without a network, and still use the cache."""

from __future__ import annotations

import contextlib
import socket
import urllib.request
from collections.abc import Iterator
from threading import RLock
from urllib.parse import urlsplit

from vertebra.checkpoints import one_line
from vertebra.errors import WeightsError

CONNECT_TIMEOUT = 5.0  # seconds
PORTS = {"http": 80, "https": 443}
_DOWNLOADING = RLock()  # the settings are process-wide, so only one thread may change them


@contextlib.contextmanager
def from_url() -> Iterator[None]:
    """A context in which torch's downloads time out if a host does not answer. Only one thread at a time can enter it."""
    with _DOWNLOADING:
        previous = socket.getdefaulttimeout()
        try:
            socket.setdefaulttimeout(previous or 4 * CONNECT_TIMEOUT)
            yield
        finally:
            socket.setdefaulttimeout(previous)


@contextlib.contextmanager
def from_hub() -> Iterator[None]:
    """A context in which the Hugging Face hub's client fails fast, instead of retrying for a minute without a network.

    If the hub, or the proxy to it, cannot be reached, the client's offline mode is on: cached weights load, and others fail at
    once. ``HF_HUB_OFFLINE=1`` skips the connection test. Only one thread at a time can enter it.

    Raises:
        ConnectionError: the weights are not in the cache, and the hub cannot be reached.
    """
    from huggingface_hub import constants

    with _DOWNLOADING:
        previous = constants.HF_HUB_OFFLINE
        reason = "HF_HUB_OFFLINE is set" if previous else f"{constants.ENDPOINT} cannot be reached"
        try:
            constants.HF_HUB_OFFLINE = previous or not reachable(constants.ENDPOINT)
            yield
        except FileNotFoundError as error:
            if not constants.HF_HUB_OFFLINE:
                raise
            raise ConnectionError(f"{reason}, and they are not in its cache") from error
        finally:
            constants.HF_HUB_OFFLINE = previous


def reachable(address: str) -> bool:
    """True if the host of an address, or the proxy to it, accepts a connection."""
    target = urlsplit(address)
    if not urllib.request.proxy_bypass(target.hostname or ""):
        proxy = urllib.request.getproxies().get(target.scheme)
        target = urlsplit(proxy if "//" in proxy else f"http://{proxy}") if proxy else target
    try:
        with socket.create_connection(
            (target.hostname or "", target.port or PORTS[target.scheme]), timeout=CONNECT_TIMEOUT
        ):
            return True
    except (OSError, ValueError, LookupError):
        return False


def unavailable(name: str, error: Exception) -> WeightsError:
    """The error for published weights of a backbone that cannot be downloaded."""
    return WeightsError(
        f"the pretrained weights of '{name}' cannot be downloaded ({type(error).__name__}: {one_line(error)}). Without a "
        "network, give a file with timm's or torchvision's parameter names (--pretrained FILE; in a config pretrained: FILE), "
        "or start from random weights (--pretrained false; in a config pretrained: false)"
    )
