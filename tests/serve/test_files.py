"""The page, and that nothing of the machine but the page can be had."""

from pathlib import Path

import pytest
from test_refusals import error_of

from gpt_pipeline.serve import app, routing

SECRET = Path(app.__file__).name


def test_the_page_loads_nothing_from_elsewhere_and_is_not_kept(server):
    for path in ("/", "/index.html"):
        response = server.client.get(path)
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/html")
        assert response.headers["content-security-policy"] == (
            "default-src 'self'; img-src 'self' data:"
        )
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-cache"


def test_every_file_of_the_page_is_served(server):
    for path in routing.PAGE.rglob("*"):
        if path.is_file():
            response = server.client.get("/" + path.relative_to(routing.PAGE).as_posix())
            assert response.content == path.read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        f"/../{SECRET}", f"/%2e%2e/{SECRET}", f"/..%2f{SECRET}", f"/x/../../{SECRET}",
        f"/..\\{SECRET}", f"/%2e%2e%2f%2e%2e%2f{SECRET}", f"//../{SECRET}", f"/./../{SECRET}",
        "/etc/passwd", "//etc/passwd", "/%2fetc/passwd", "/" + "..%2f" * 9 + "etc/passwd",
        "/proc/self/environ", "/%00", f"/index.html%00/{SECRET}", "/" + "x" * 5000, "/~root",
        f"/v1/models/..%2f{SECRET}", "/%ff%fe", "/file:///etc/passwd", "/__init__.py",
    ],
)  # fmt: skip
def test_no_other_file_can_be_reached(server, path):
    with server.connect() as connection:  # httpx would tidy the path
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        received = b""
        while data := connection.recv(65536):
            received += data
    assert received.startswith(b"HTTP/1.1 404 "), received[:200]
    assert b'"error"' in received


def test_a_link_out_of_the_page_is_not_followed(served, tmp_path, monkeypatch):
    from fake_engine import FakeEngine
    from serving import running

    (tmp_path / "page").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "page" / "link.txt").symlink_to(tmp_path / "secret.txt")
    monkeypatch.setattr(app, "PAGE", tmp_path / "page")
    with running(served, FakeEngine()) as server:
        error_of(server.client.get("/link.txt"), 404)
        error_of(server.client.get("/"), 404)
