"""Images at http addresses: the same results as of files, within limits, and every refusal in one line."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from tests.inference.painted import Painted, paint
from vertebra.errors import DataError
from vertebra.inference.io.image_urls import ImageUrl, content_type, download, url_suffix
from vertebra.inference.io.inputs import as_source, list_images
from vertebra.inference.io.streams import Camera

PIXELS = paint((40, 60), [(5, 5, 20, 20, 1)])


def encoded(kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, kind)
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    """Answers each path in its own way."""

    seen: ClassVar[list[str]] = []

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        """One of the answers below."""
        self.seen.append(self.path)
        answers: dict[str, Callable[[], None]] = {
            "page": lambda: self.answer(b"<html>", "text/html"),
            "stream": lambda: self.answer(b"--frame", "multipart/x-mixed-replace; boundary=frame"),
            "postscript": lambda: self.answer(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "image/png"),
            "cut": lambda: self.answer(encoded()[:50], "image/png", length=len(encoded())),
            "long": lambda: self.answer(bytes(5000), "image/png"),
            "endless": self.endless,
            "silent": lambda: time.sleep(3),
            "to": self.redirect,
            "next": self.redirect,
            "file": lambda: self.answer(b"", code=302, Location="file:///etc/passwd"),
        }
        name = self.path.partition("?")[0].rpartition("/")[2].partition(".")[0]
        if self.path.startswith("/a"):
            self.answer(encoded(), "image/png")
        elif name in answers:
            answers[name]()
        else:
            self.send_error(404)

    def answer(
        self, content: bytes, kind: str = "image/png", code: int = 200, length: int | None = None, **headers: str
    ) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def redirect(self) -> None:
        count = int(self.path.rpartition("=")[2])
        self.answer(b"", code=302, Location=f"/next?n={count - 1}" if count > 1 else "/a.png")

    def endless(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.end_headers()
        try:
            while True:
                self.wfile.write(bytes(100))
                time.sleep(0.02)
        except OSError:
            return


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "127.0.0.1")
        http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        http.daemon_threads = True
        Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        http.server_close()


def test_the_result_is_that_of_the_file(server: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded())
    model = Painted((40, 60))
    (of_file,) = model.predict(tmp_path / "a.png")
    (result,) = model.predict(f"{server}/a.png?size=1#top")
    np.testing.assert_array_equal(result["boxes"].boxes, of_file["boxes"].boxes)
    np.testing.assert_array_equal(result["paint"].mask, of_file["paint"].mask)
    assert result.path is None and result.source == f"{server}/a.png?size=1" and result.frame is None
    assert result.to_dict()["image"] == result.source
    Handler.seen.clear()
    assert result["boxes"].draw().size == of_file["boxes"].draw().size and not Handler.seen, (
        "it is not downloaded again"
    )


def test_among_others(server: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded())
    names = [f"{server}/a.png", str(tmp_path / "a.png"), f"{server}/a", f"{server}/to?n=3"]
    results = Painted((40, 60), batch_size=2).predict([*names, PIXELS])
    assert [result.source for result in results] == [names[0], tmp_path / "a.png", names[2], names[3], None]
    assert all(len(result["boxes"]) == 1 for result in results)
    tiled = Painted((40, 60), tile=40).predict(names)
    assert [len(result["boxes"]) for result in tiled] == [1] * 4


def test_one_that_cannot_be_read_is_left_out(server: str) -> None:
    model = Painted((40, 60), skip_unreadable=True)
    assert len(model.predict([f"{server}/a.png", f"{server}/none.png?key=secret"])) == 1
    ((name, reason),) = model.skipped
    assert name == f"{server}/none.png?key=secret" and "404" in reason
    assert "secret" not in reason


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.png", "the server answers 404 Not Found; check the address"),
        ("page.png", r"a page \(text/html\) and no image; pass the address of the image file"),
        ("stream", r"a stream \(multipart/x-mixed-replace\) and no image; .*Predictor\(model\)\.stream\("),
        ("postscript.png", "not an image that can be read; remove it, or save it as JPEG or PNG"),
        ("cut.png", r"the connection ended after 50 of \d+ bytes; try again"),
        ("to?n=7", "more than 5 redirects; pass the address where they end"),
        ("file", "redirects to what is neither http nor https, which is not followed"),
    ],
)
def test_answers_that_are_refused(server: str, path: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        Painted((40, 60)).predict(f"{server}/{path}")
    text = str(refused.value)
    assert text.startswith(f"{server}/{path.partition('?')[0]}: ") and "\n" not in text


def test_limits(server: str) -> None:
    assert len(download(f"{server}/long", max_bytes=5000)) == 5000
    with pytest.raises(DataError, match="5000 bytes, more than the limit of 4999; download it and pass the file"):
        download(f"{server}/long", max_bytes=4999)
    with pytest.raises(DataError, match="more than 300 bytes"):
        download(f"{server}/endless", max_bytes=300)
    for path in ("endless", "silent"):
        begun = time.monotonic()
        with pytest.raises(DataError, match=r"not downloaded within 0\.4 seconds|too slow|timed out"):
            download(f"{server}/{path}", seconds=0.4)
        assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("file:///etc/passwd", "must begin with http:// or https://"),
        ("http:///a.png", "must begin with http:// or https://"),
        ("http://[bad/a.png", "not an address"),
        ("http://me:secret@127.0.0.1/a.png", "user names in addresses are not supported"),
        ("http://me:se/cret@127.0.0.1/a.png", "not an address|cannot be downloaded"),
        ("http://127.0.0.1/a b.png", "percent-encode it"),
        ("http://127.0.0.1:1/a.png", "cannot be downloaded .*check the address and the network"),
    ],
)
def test_addresses_that_are_refused(address: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        ImageUrl(address).load()
    assert "secret" not in str(refused.value) and "cret" not in str(refused.value) and "\n" not in str(refused.value)


def test_names_of_addresses() -> None:
    assert ImageUrl("https://me:secret@host:81/a.png?id=1#top").name == "https://host:81/a.png?id=1"
    assert ImageUrl("https://host/a@2x.png").name == "https://host/a@2x.png"
    assert [url_suffix(f"http://a.jpg{rest}") for rest in ("", "/", "/b.PNG?c=d.gif", "/b#c.png")] == [
        "",
        "",
        ".png",
        "",
    ]


def test_streams_stay_streams(server: str) -> None:
    def kind(address: str, **options: bool) -> type:
        return type(as_source(address, **options))

    for name in ("a.m3u8", "live/a.mp4?x=b.png", "video.mjpg"):
        assert kind(f"https://host/{name}") is Camera
    assert kind("rtsp://host/a.png") is Camera and kind("camera:0") is Camera
    Handler.seen.clear()
    assert kind(f"{server}/a.png") is ImageUrl and not Handler.seen, "the suffix says it"
    assert kind(f"{server}/a") is ImageUrl and kind(f"{server}/stream") is Camera and len(Handler.seen) == 2
    assert kind(f"{server}/none") is Camera, "OpenCV opens what only cameras understand"
    assert kind(f"{server}/stream", ask=False) is ImageUrl
    assert content_type(f"{server}/a") == "image/png"


def test_an_address_of_another_kind_is_no_file() -> None:
    with pytest.raises(DataError, match=r"file:///a\.png: no such address; images come from http:// and https://"):
        list_images("file:///a.png")
