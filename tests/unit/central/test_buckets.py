"""Buckets without a server: signatures, names, what a channel carries, what people may write."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.central.alerting.channels import bucket, sigv4
from vedette.central.alerting.channels.facts import (
    CLOUD_EVENT,
    PACKAGE,
    S3,
    Kind,
    Secret,
    carries,
    require_carries,
)
from vedette.central.alerting.channels.s3 import segment
from vedette.errors import ConfigError


def test_a_request_is_signed_as_amazon_shows_it() -> None:
    """The example of its documentation, to the last digit."""
    key = sigv4.Key(
        key_id="AKIAIOSFODNN7EXAMPLE", region="us-east-1",
        secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    )  # fmt: skip
    given_ = {
        "date": "Fri, 24 May 2013 00:00:00 GMT",
        "host": "examplebucket.s3.amazonaws.com",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
    }
    content = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()
    path = f"/{sigv4.path_of('test$file.text')}"
    made = sigv4.headers("PUT", path, given_, content, key, 1_369_353_600_000)
    assert made["authorization"].endswith(
        "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    )
    assert "EXAMPLEKEY" not in repr(key)


@given(st.text(max_size=20), st.text(max_size=20))
def test_two_names_never_become_one_object(one: str, other: str) -> None:
    """Whatever they are made of; and none climbs out of its folder."""
    assert (segment(one) == segment(other)) == (one == other)
    assert "/" not in segment(one)
    assert segment(one) not in {".", ".."}


def test_what_a_channel_carries() -> None:
    """People are told by all but buckets; programs by what takes a body as it is."""
    every = {kind: {m for m in ("", CLOUD_EVENT, PACKAGE) if carries(kind, m)} for kind in Kind}
    assert every == {
        Kind.WEBHOOK: {"", CLOUD_EVENT}, Kind.MQTT: {"", CLOUD_EVENT}, Kind.MAIL: {""},
        Kind.APPRISE: {""}, Kind.S3: {CLOUD_EVENT, PACKAGE},
    }  # fmt: skip
    with pytest.raises(ConfigError, match="of kind mail: it carries notices only") as refused:
        require_carries("post", Kind.MAIL, CLOUD_EVENT)
    assert refused.value.operator_hint == "take a channel of kind mqtt, s3, webhook"
    with pytest.raises(ConfigError, match="a bucket carries exports, no notices"):
        require_carries("archive", Kind.S3, "")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"endpoint": "https://s3.example/bucket"}, "a server's address"),
        ({"endpoint": "https://user:word@s3.example"}, "a server's address"),
        ({"endpoint": "ftp://s3.example"}, "a server's address"),
        ({"endpoint": "https://s3.example:99999"}, "no address of a server"),
        ({"bucket": "../other"}, "cannot name a bucket"),
        ({"bucket": "a..b"}, "cannot name a bucket"),
        ({"bucket": "Archive"}, "cannot name a bucket"),
        ({"region": "eu/west"}, "no region"),
        ({"prefix": "a/../b"}, "a prefix is"),
        ({"prefix": "a//b"}, "a prefix is"),
    ],
    ids=["path", "user", "ftp", "port", "climb", "dots", "capital", "region", "up", "empty"],
)
def test_a_bucket_that_cannot_be_is_refused(change: dict[str, Any], said: str) -> None:
    """With words, before anything is kept."""
    fields: dict[str, Any] = {"endpoint": "https://s3.example", "bucket": "archive"}
    with pytest.raises(ConfigError, match=said):
        bucket.checked(S3(**fields | change))


def test_an_access_key_is_both_parts_or_the_one_before() -> None:
    """Half of one is refused; none keeps what is there; the bucket may stand in the host's name."""
    before = Secret(key_id="old", password="old-secret")
    assert bucket.keys("", "", before) == before
    assert bucket.keys("new", "new-secret", before).key_id == "new"
    for key_id, secret in (("new", ""), ("", "new-secret"), ("a/b", "c"), ("a", "x" * 300)):
        with pytest.raises(ConfigError):
            bucket.keys(key_id, secret, before)
    with pytest.raises(ConfigError, match="needs an access key"):
        bucket.keys("", "", Secret())
    hosted = S3(endpoint="https://s3.example:9000", bucket="archive", path_style=False)
    assert bucket.base(hosted) == "https://archive.s3.example:9000"
