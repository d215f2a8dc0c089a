"""The queue dashboard's door."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import urlsplit

import pytest

from jobs.dashboard import create_dashboard, serve_dashboard


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


def test_queues_workers_and_jobs_are_shown(redis_url):
    """The pages that operations know answer, also on an empty Redis."""
    client = create_dashboard(redis_url).test_client()
    for page in ("/", "/0/view/workers", "/0/view/jobs", "/0/data/queues.json"):
        assert client.get(page).status_code == 200, page


def test_the_redis_password_is_not_shown(redis_url):
    """The page lists the Redis it looks at, without its secret."""
    password = urlsplit(redis_url).password
    assert password
    assert password not in create_dashboard(redis_url).test_client().get("/").text


def test_without_the_right_password_there_is_nothing(redis_url):
    """Every page and button asks for it."""
    client = create_dashboard(redis_url, user="callflows", password="right").test_client()
    assert client.get("/").status_code == 401
    assert client.get("/", headers=basic("callflows", "wrong")).status_code == 401
    assert client.get("/", headers=basic("who", "right")).status_code == 401
    assert client.get("/", headers={"Authorization": "Bearer x"}).status_code == 401
    assert client.post("/job/outbox-1/requeue").status_code == 401
    assert client.get("/", headers=basic("callflows", "right")).status_code == 200


def test_a_page_elsewhere_presses_no_buttons(redis_url):
    """A browser that is logged in is not lent to another site."""
    client = create_dashboard(redis_url).test_client()
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    assert client.post("/requeue/sms", headers=elsewhere).status_code == 403
    assert client.get("/requeue/sms", headers=elsewhere).status_code == 403
    assert client.post("/requeue/sms", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_deleting_is_switched_off(redis_url):
    """A deleted nudge would come back; nobody shall think that a message was cancelled."""
    client = create_dashboard(redis_url).test_client()
    assert client.post("/job/outbox-1/delete").json == {"status": "DISABLED"}


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "queues.example.org"])
def test_beyond_loopback_only_with_a_password(host):
    """It does not start open to others."""
    with pytest.raises(ValueError, match="needs user and password"):
        serve_dashboard(host, 0, "redis://127.0.0.1:1/0")
