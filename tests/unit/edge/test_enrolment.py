"""Enrolment: one identity, kept private, pinned for good."""

from pathlib import Path

import msgspec
import pytest

from vedette.edge.enrolment import device_key, enrol, load_identity
from vedette.errors import CentralUnreachable, ConfigError, TrustError
from vedette.trust.keys import PublicKey, SigningKey, check_possession
from vedette.wire.enrol import EnrolAnswer, EnrolRequest

CENTRAL, SITE = SigningKey.generate(), SigningKey.generate()
ANSWER = EnrolAnswer(
    device="box", site="shop", central_key=CENTRAL.public.text, site_keys=[SITE.public.text]
)


class Enroller:
    """Central, as far as enrolment goes."""

    def __init__(self, *answers: EnrolAnswer | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[EnrolRequest] = []

    def enrol(self, request: EnrolRequest) -> EnrolAnswer:
        """Answer as told."""
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_device_proves_its_key_and_pins_what_it_is_told(tmp_path: Path) -> None:
    """The proof holds for its own key; the identity is private and found again."""
    central = Enroller(ANSWER)
    identity = enrol(tmp_path, central, "claim", version="1")
    (request,) = central.requests
    check_possession(PublicKey.from_text(request.public_key), "claim", request.proof)
    assert device_key(tmp_path).public.text == request.public_key
    assert load_identity(tmp_path) == identity
    assert identity.central == CENTRAL.public
    assert (tmp_path / "identity" / "identity.json").stat().st_mode & 0o077 == 0


def test_a_lost_answer_can_be_asked_again_with_the_same_key(tmp_path: Path) -> None:
    """Nothing is kept of a failed attempt but the key."""
    central = Enroller(CentralUnreachable("cut"), ANSWER)
    with pytest.raises(CentralUnreachable):
        enrol(tmp_path, central, "claim", version="1")
    assert load_identity(tmp_path) is None
    enrol(tmp_path, central, "claim", version="1")
    first, second = central.requests
    assert first.public_key == second.public_key


def test_an_enrolled_device_is_not_enrolled_over(tmp_path: Path) -> None:
    """Pinned keys are never replaced by an answer."""
    central = Enroller(ANSWER, ANSWER)
    enrol(tmp_path, central, "claim", version="1")
    with pytest.raises(ConfigError, match="already"):
        enrol(tmp_path, central, "claim", version="1")
    assert len(central.requests) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"central_key": "nonsense"},
        {"site_keys": [CENTRAL.public.text]},
        {"site_threshold": 2},
        {"site_threshold": 0},
        {"device": "../etc"},
    ],
)
def test_an_answer_that_makes_no_sense_is_not_pinned(
    tmp_path: Path, change: dict[str, object]
) -> None:
    """Central as its own site signer, thresholds that cannot be met, names that are paths."""
    central = Enroller(msgspec.structs.replace(ANSWER, **change))
    with pytest.raises(TrustError):
        enrol(tmp_path, central, "claim", version="1")
    assert load_identity(tmp_path) is None


def test_a_damaged_identity_is_not_guessed(tmp_path: Path) -> None:
    """A device that cannot read its pins believes nobody and says so."""
    enrol(tmp_path, Enroller(ANSWER), "claim", version="1")
    (tmp_path / "identity" / "identity.json").write_text("{}")
    with pytest.raises(TrustError):
        load_identity(tmp_path)
