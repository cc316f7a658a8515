"""Where a server is, by what it says, and what is said of one that does not start."""

import io
from types import SimpleNamespace

import pytest

from bench.load.server import url_of
from labelwright.errors import ModelError


def test_a_servers_url_is_read_off_what_it_says():
    lines = ["toy: base, 3 labels\n", "http://127.0.0.1:43967  POST /v1/systemone\n"]
    assert url_of(SimpleNamespace(stdout=iter(lines)), io.StringIO()) == "http://127.0.0.1:43967"
    with pytest.raises(ModelError, match=r"did not start: labelwright: error: nowhere"):
        url_of(SimpleNamespace(stdout=iter(())), io.StringIO("labelwright: error: nowhere\n"))
