import os

import psycopg

with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
    for number in range(10):
        ada = (f"ada{number}", f"ada{number}@example.com", "x")
        with connection.transaction():
            connection.execute("insert into users (username, email, hashed_password) values (%s, %s, %s)", ada)
        # psycopg prepares a statement that it sees for the sixth time, or at once with prepare=True.
        row = connection.execute("select email from users where username = %s", ada[:1], prepare=True).fetchone()
        assert row == ada[1:2]
        connection.execute("delete from users where username = %s", ada[:1])
