"""Whose word about address, scheme and host is believed."""

import pytest

from turing_test.server.proxy import BehindProxy

FORWARDED = {"HTTP_X_FORWARDED_FOR": "198.51.100.7", "HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_HOST": "a.b"}


def told_of(proxy, address, root="", **more):
    """What the application is told of a request."""
    told = {}

    def application(environ, start_response):
        told.update(environ)
        return []

    environ = {"REMOTE_ADDR": address, "wsgi.url_scheme": "http", "HTTP_HOST": "inner:8000", **FORWARDED, **more}
    BehindProxy(application, proxy, root)(environ, lambda *_: None)
    return told


def seen(proxy, address, **more):
    told = told_of(proxy, address, **more)
    return told["REMOTE_ADDR"], told["wsgi.url_scheme"], told["HTTP_HOST"]


@pytest.mark.parametrize(
    ("proxy", "address"), [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "::ffff:127.0.0.1"), ("::1", "0:0::1"), ("*", "x")]
)
def test_the_proxy_is_believed(proxy, address):
    assert seen(proxy, address) == ("198.51.100.7", "https", "a.b")


@pytest.mark.parametrize(("proxy", "address"), [("127.0.0.1", "127.0.0.2"), ("::1", "::2"), ("127.0.0.1", "")])
def test_nobody_else_is(proxy, address):
    assert seen(proxy, address) == (address, "http", "inner:8000")


def test_of_several_values_the_one_that_the_proxy_wrote_is_taken():
    told = seen(
        "*", "10.0.0.1", HTTP_X_FORWARDED_FOR="203.0.113.1, 198.51.100.7", HTTP_X_FORWARDED_PROTO="https, https"
    )
    assert told[:2] == ("198.51.100.7", "https")


@pytest.mark.parametrize(
    ("prefix", "root", "below", "script_name"),
    [
        ("/study1", "", "", "/study1"),
        ("/study1/", "", "", "/study1"),
        ("/evil, /study1", "", "", "/study1"),
        ("/lab", "/other", "/colors", "/lab/colors"),  # what the proxy says stands in for what the server was told
        ("/lab", "/lab", "/colors", "/lab/colors"),
        ("", "/lab", "", "/lab"),
        ("//evil.example", "/lab", "", "/lab"),
        ("https://evil.example", "", "", ""),
        ("/../x", "", "", ""),
        ('/"><script>', "", "", ""),
    ],
)
def test_the_prefix_is_believed_when_it_is_a_path(prefix, root, below, script_name):
    more = {"HTTP_X_FORWARDED_PREFIX": prefix, "SCRIPT_NAME": root + below}
    assert told_of("127.0.0.1", "127.0.0.1", root, **more)["SCRIPT_NAME"] == script_name
    assert told_of("127.0.0.1", "127.0.0.2", root, **more)["SCRIPT_NAME"] == root + below
