"""One released bundle for all tests of this folder that look at one; it is only ever read."""

import pytest

from tests.secure import released


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """(services, the release's id, its bundle's files by name)"""
    services = released.area(tmp_path_factory.mktemp("published"))
    name = released.release(services)
    yield services, name, services.bundler.files(name)
    services.close()
