"""Downloads of published weights that fail fast: without a network the answer comes in seconds, and the cache is still used."""

from __future__ import annotations

import contextlib
import socket
import urllib.request
from collections.abc import Iterator
from threading import RLock
from urllib.parse import urlsplit

from vertebra.checkpoints import one_line
from vertebra.errors import WeightsError

PATIENCE = 5.0  # seconds for a connection
PORTS = {"http": 80, "https": 443}
_DOWNLOADING = RLock()  # what is set for a download is set for the whole process, so threads take turns


@contextlib.contextmanager
def from_url() -> Iterator[None]:
    """Within it torch's downloads do not wait for ever for a host that does not answer. One thread at a time is in it."""
    with _DOWNLOADING:
        before = socket.getdefaulttimeout()
        try:
            socket.setdefaulttimeout(before or 4 * PATIENCE)
            yield
        finally:
            socket.setdefaulttimeout(before)


@contextlib.contextmanager
def from_hub() -> Iterator[None]:
    """Within it the Hugging Face hub's client does not retry for a minute where no host answers.

    Its own offline mode is on for that time if the hub, or the proxy before it, cannot be reached: weights in its cache are
    found, and others are an error at once. ``HF_HUB_OFFLINE=1`` spares the question. One thread at a time is in it.

    Raises:
        ConnectionError: the weights are not in the cache, and the hub is not to be had.
    """
    from huggingface_hub import constants

    with _DOWNLOADING:
        before = constants.HF_HUB_OFFLINE
        why = "HF_HUB_OFFLINE is set" if before else f"{constants.ENDPOINT} cannot be reached"
        try:
            constants.HF_HUB_OFFLINE = before or not reachable(constants.ENDPOINT)
            yield
        except FileNotFoundError as error:
            if not constants.HF_HUB_OFFLINE:
                raise
            raise ConnectionError(f"{why}, and they are not in its cache") from error
        finally:
            constants.HF_HUB_OFFLINE = before


def reachable(address: str) -> bool:
    """Whether the host of an address, or the proxy on the way to it, takes a connection."""
    target = urlsplit(address)
    if not urllib.request.proxy_bypass(target.hostname or ""):
        proxy = urllib.request.getproxies().get(target.scheme)
        target = urlsplit(proxy if "//" in proxy else f"http://{proxy}") if proxy else target
    try:
        with socket.create_connection((target.hostname or "", target.port or PORTS[target.scheme]), timeout=PATIENCE):
            return True
    except (OSError, ValueError, LookupError):
        return False


def unavailable(name: str, error: Exception) -> WeightsError:
    """What is said where published weights of a backbone cannot be fetched."""
    return WeightsError(
        f"the pretrained weights of '{name}' cannot be had ({type(error).__name__}: {one_line(error)}). Without a network, give "
        "a file in timm's or torchvision's key names (--pretrained FILE; in a config pretrained: FILE), or start from random "
        "weights (--pretrained false; in a config pretrained: false)"
    )
