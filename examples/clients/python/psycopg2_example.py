import os

import psycopg2

connection = psycopg2.connect(os.environ["DATABASE_URL"])
for number in range(10):
    ada = (f"ada{number}", f"ada{number}@example.com", "x")
    with connection, connection.cursor() as cursor:  # a transaction
        cursor.execute("insert into users (username, email, hashed_password) values (%s, %s, %s)", ada)
    with connection, connection.cursor() as cursor:
        cursor.execute("select email from users where username = %s", ada[:1])
        assert cursor.fetchone() == ada[1:2]
    with connection, connection.cursor() as cursor:
        cursor.execute("delete from users where username = %s", ada[:1])
connection.close()
