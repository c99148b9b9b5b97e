"""Central's configuration file."""

from vedette.central import settings


def test_a_configuration_means_the_same_from_wherever_a_command_is_typed(tmp_path, monkeypatch):
    """Relative paths start at the file: no second, empty database beside somebody's shell."""
    path = tmp_path / "central.yaml"
    path.write_text("state_dir: data\ntls_certificate: cert.pem\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    loaded = settings.load(path)
    assert loaded.state == tmp_path / "data"
    assert loaded.tls_certificate == str(tmp_path / "cert.pem")
    assert not loaded.tls_key
