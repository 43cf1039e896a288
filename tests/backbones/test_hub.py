"""Downloads of published weights fail within seconds without a network, and cached weights are used."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants

from vertebra.backbones import TimmBackbone
from vertebra.backbones.hub import from_hub, from_url, reachable
from vertebra.backbones.pretrained import create
from vertebra.errors import WeightsError


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address without a server as that of the hub, and an empty cache."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return address


def test_a_host_that_listens_and_one_that_does_not(closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not reachable(closed)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert reachable(address)
        monkeypatch.setenv("https_proxy", address)
        assert reachable("https://nobody.invalid")  # only the proxy must be reachable
    assert not reachable("https://nobody.invalid")
    assert not reachable("nonsense")


def test_without_a_network_the_answer_comes_at_once(
    closed: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    before = time.monotonic()
    with pytest.raises(
        WeightsError,
        match=rf"'resnet10t' cannot be downloaded \(ConnectionError: {closed} cannot be reached, and they are not in its cache\)"
        r".*\(--pretrained FILE; in a config pretrained: FILE\).*\(--pretrained false; in a config pretrained: false\)",
    ):
        TimmBackbone("resnet10t", pretrained=True)
    assert time.monotonic() - before < 5
    assert constants.HF_HUB_OFFLINE is False


def test_a_cache_is_used_without_a_network(closed: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(5)
    theirs = timm.create_model("test_resnet")
    folder = tmp_path / f"models--{timm.get_pretrained_cfg('test_resnet').hf_hub_id.replace('/', '--')}"
    commit = "0" * 40
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    (folder / "snapshots" / commit).mkdir(parents=True)
    save_file(theirs.state_dict(), folder / "snapshots" / commit / "model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    backbone = TimmBackbone("test_resnet", pretrained=True)
    assert torch.equal(backbone.body.conv1[0].weight, theirs.conv1[0].weight)
    assert backbone.weights_from == {"source": "timm:test_resnet.r160_in1k", "license": "apache-2.0"}


def test_offline_mode_is_respected_and_said(closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("asked the network"))
    with pytest.raises(ConnectionError, match="HF_HUB_OFFLINE is set"), from_hub():
        raise FileNotFoundError("no")
    assert constants.HF_HUB_OFFLINE is True


def test_downloads_by_torch_do_not_wait_for_ever() -> None:
    before = socket.getdefaulttimeout()
    with from_url():
        assert socket.getdefaulttimeout() == 20
    assert socket.getdefaulttimeout() == before


def test_threads_that_fetch_at_once_leave_things_as_they_were(closed: str) -> None:
    """If the first thread ended first, it would restore the settings, and the second one those of the first."""
    before = socket.getdefaulttimeout()
    inside, done = threading.Event(), threading.Event()

    def first() -> None:
        with from_url(), from_hub():
            inside.set()
            done.wait(0.3)

    def second() -> None:
        inside.wait(5)
        with from_hub(), from_url():
            done.set()
            thread.join(0.3)

    thread, other = threading.Thread(target=first), threading.Thread(target=second)
    for one in (thread, other):
        one.start()
    for one in (thread, other):
        one.join(10)
    assert constants.HF_HUB_OFFLINE is False and socket.getdefaulttimeout() == before


def test_timms_weights_at_a_url_do_not_wait_for_ever(
    closed: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("vertebra.backbones.hub.CONNECT_TIMEOUT", 0.05)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts connections, but never responds
        at_url = {"url": f"http://127.0.0.1:{server.getsockname()[1]}/a.pth", "hf_hub_id": None}
        ends = threading.Timer(3, server.shutdown, [socket.SHUT_RDWR])
        ends.start()
        begun = time.monotonic()
        with pytest.raises(WeightsError, match="'test_resnet' cannot be downloaded .TimeoutError"):
            create("test_resnet", hub=True, pretrained_cfg_overlay=at_url)
        ends.cancel()
    assert time.monotonic() - begun < 2
