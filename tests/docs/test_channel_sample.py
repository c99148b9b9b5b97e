"""The receiver in the documentation of channels verifies what central sends, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest

from vedette.central.alerting.channels import signing
from vedette.central.alerting.channels.facts import SharedSecret
from vedette.clock import SystemClock, wall_ms


def test_the_receiver_of_the_documentation_verifies_and_refuses(docs):
    """A good signature is taken, also beside another; changed, old or foreign ones are not."""
    blocks = [one.text for one in docs.blocks("python") if "webhook-signature" in one.text]
    sample: dict[str, Any] = {}
    exec(blocks[0], sample)
    verified: Callable[[str, dict[str, str], bytes], dict] = sample["verified"]
    now_ms = wall_ms(SystemClock().now_at())
    secret, other = signing.fresh("v1"), signing.fresh("v1")
    shared = [SharedSecret(secret=one, made_ms=0) for one in (other, secret)]
    headers = signing.headers(shared, "dl-1", b'{"a": 1}', now_ms)
    assert verified(secret, headers, b'{"a": 1}') == {"a": 1}
    old = signing.headers(shared, "dl-1", b'{"a": 1}', now_ms - 400_000)
    for wrong in (
        (secret, headers, b'{"a": 2}'),
        (secret, headers | {"webhook-id": "dl-2"}, b'{"a": 1}'),
        (signing.fresh("v1"), headers, b'{"a": 1}'),
        (secret, old, b'{"a": 1}'),
    ):
        with pytest.raises(ValueError, match=r"not signed|too old"):
            verified(*wrong)
