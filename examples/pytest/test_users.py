import pytest


@pytest.mark.parametrize("turn", [1, 2])
def test_starts_with_an_empty_table(connection, turn):
    assert connection.execute("select count(*) from users").fetchone() == (0,)
    connection.execute("insert into users (username, email, hashed_password) values ('ada', 'ada@example.com', 'x')")
    connection.commit()
    assert connection.execute("select username from users").fetchall() == [("ada",)]


def test_connects_over_tls_as_the_application(connection):
    row = connection.execute("select current_user, ssl from pg_stat_ssl where pid = pg_backend_pid()").fetchone()
    assert row == ("app_user", True)
