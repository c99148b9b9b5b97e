"""The token in a page: never written twice alike, and only ever right for its session."""

from hypothesis import given
from hypothesis import strategies as st

from vedette.central import csrf

TOKEN = "s3cret-token_of-a-session"


def test_a_token_is_written_differently_each_time_and_stays_right() -> None:
    """Whoever measures compressed lengths learns nothing of it; unmasked it is right as well."""
    written = {csrf.masked(TOKEN) for _ in range(8)}
    assert len(written) == 8
    assert all(TOKEN not in one and csrf.is_right(one, TOKEN) for one in written)
    assert csrf.is_right(TOKEN, TOKEN)


@given(st.text() | st.builds("{}~{}".format, st.text(), st.text()))
def test_anything_else_is_wrong_and_breaks_nothing(shown: str) -> None:
    """Lone surrogates, other lengths, no base64, another session's token, nothing at all."""
    assert not csrf.is_right(shown, TOKEN)
    assert not csrf.is_right(csrf.masked("another"), TOKEN)
    assert not csrf.is_right("", "")
    assert not csrf.is_right("~", "")
