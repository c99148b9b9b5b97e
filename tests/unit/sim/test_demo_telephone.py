"""The demo's receiver: it takes what central signed, once, and nothing else."""

import http.client
import json

import pytest
from standardwebhooks import Webhook

from vedette.central.alerting import rules
from vedette.sim.demo import telephone
from vedette.sim.demo.telephone import Notice, Telephone

SECRET = "whsec_" + "c2VjcmV0" * 4
BODY = json.dumps(
    {"data": {"kind": "opened", "subject": "it is dark", "incident": {"rule": "covered-lens"}}}
)


def post(rung: Telephone, body: str, headers: dict[str, str]) -> int:
    """Post as a webhook would; return the status."""
    line = http.client.HTTPConnection("127.0.0.1", rung.port, timeout=10)
    try:
        line.request("POST", "/", body, headers)
        return line.getresponse().status
    finally:
        line.close()


def signed(body: str, name: str, secret: str = SECRET) -> dict[str, str]:
    """Return the headers that an independent library signs."""
    from datetime import UTC, datetime

    at = datetime.now(UTC)
    signature = Webhook(secret).sign(name, at, body)
    return {
        "webhook-id": name,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signature,
    }


def test_a_signed_notice_rings_once() -> None:
    """Also when it is tried again; another body under the same signature is refused."""
    rung: list[Notice] = []
    with Telephone(rung.append) as phone:
        phone.secret = SECRET
        headers = signed(BODY, "dl-1")
        assert [post(phone, BODY, headers) for _ in range(2)] == [200, 200]
        assert post(phone, BODY.replace("dark", "fine"), headers) == 400
        assert post(phone, BODY, signed(BODY, "dl-2", "whsec_" + "bm9ib2R5" * 4)) == 400
        assert post(phone, "[1]", signed("[1]", "dl-3")) == 400
        assert post(phone, BODY, {}) == 400
    assert (
        rung == phone.notices == [Notice(kind="opened", rule="covered-lens", subject="it is dark")]
    )


def test_before_it_knows_a_secret_nothing_is_taken() -> None:
    """An empty key signs for nobody."""
    assert not telephone.is_signed("", signed(BODY, "dl-1", "whsec_" + "eA==" * 1), BODY.encode())


@pytest.mark.parametrize("name", ["covered-lens", "camera-down", "site-dark"])
def test_the_demos_rules_are_rules(name: str) -> None:
    """They load as a file would, and each names the ladder that rings."""
    found = rules.load(telephone.RULES.encode())
    assert next(one.ladder for one in found.rules if one.rule == name) == "at-once"
    assert found.ladders[0].steps[0].tell == [f"channel:{telephone.CHANNEL}"]
