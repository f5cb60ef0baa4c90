import pytest


@pytest.fixture(autouse=True)
def no_delay(monkeypatch):
    monkeypatch.setenv("EXAMPLES_TOKEN_DELAY", "0")
