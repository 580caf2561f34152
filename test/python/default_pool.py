"""Takes all connections of psycopg's pool as it is by default, and prints how many server connections they have."""

import os

from psycopg_pool import ConnectionPool

with ConnectionPool(os.environ["DATABASE_URL"], open=True) as pool:
    taken = [pool.getconn() for _ in range(pool.max_size)]
    print(len({connection.execute("select pg_backend_pid()").fetchone()[0] for connection in taken}))
    for connection in taken:
        pool.putconn(connection)
