"""One API server for all tests here; each test has a namespace of its own."""

from collections.abc import Iterator
from itertools import count

import pytest

from kubernetes_server import KubernetesServer, missing

_NUMBERS = count(1)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesServer]:
    if why := missing():
        pytest.skip(why)
    with KubernetesServer(tmp_path_factory.mktemp("cluster")) as server:
        yield server


@pytest.fixture
def namespace(cluster: KubernetesServer) -> str:
    """A new namespace. Nothing is removed: the server goes away."""
    name = f"team-{next(_NUMBERS)}"
    cluster.kubectl("create", "namespace", name)
    return name
