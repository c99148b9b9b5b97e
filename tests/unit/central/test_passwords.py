"""What a stored password costs whoever tries to guess it."""

import argon2

from vedette.central import accounts


def test_guessing_costs_what_the_standard_asks_for() -> None:
    """Argon2id with the parameters of RFC 9106, section 4, second recommended option."""
    stored = argon2.extract_parameters(accounts._hasher.hash("correct horse battery"))
    assert stored == argon2.profiles.RFC_9106_LOW_MEMORY


def test_a_user_who_does_not_exist_costs_as_much_and_has_no_password() -> None:
    """Time tells nobody who has an account, and no password opens what is nobody's."""
    nobody = accounts._of_nobody(accounts._hasher)
    stored = argon2.extract_parameters(accounts._hasher.hash("correct horse battery"))
    assert argon2.extract_parameters(nobody) == stored
    assert not accounts._verify(nobody, "correct horse battery")
    assert nobody != accounts._of_nobody(accounts._hasher)
