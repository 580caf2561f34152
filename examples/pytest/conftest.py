import psycopg
import pytest

import aiwdb_testdb


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call":
        item.failed = report.failed
    return report


@pytest.fixture
def database(request):
    """A database of its own: name, url and env. A failed test's is kept for half an hour."""
    taken = aiwdb_testdb.create(request.node.nodeid)
    yield taken
    if getattr(request.node, "failed", False):
        aiwdb_testdb.keep(taken["name"])
        print(f"\nkept: {aiwdb_testdb.psql_command(taken['name'])}")
    else:
        aiwdb_testdb.drop(taken["name"])


@pytest.fixture
def connection(database):
    with psycopg.connect(database["url"]) as opened:
        yield opened
