"""Tries what a pooler, or PostgreSQL 16, can't do, and prints as JSON what came of each: "done", or the error."""

import json
import os
import secrets

import psycopg

URL = os.environ["DATABASE_URL"]


def sslnegotiation_direct():
    # PgBouncer waits for the rest of a message until client_login_timeout.
    psycopg.connect(URL, sslnegotiation="direct", connect_timeout=2).close()


def channel_binding():
    psycopg.connect(URL, channel_binding="require").close()


def two_phase_commit():
    connection = psycopg.connect(URL)
    connection.tpc_begin(connection.xid(1, "transaction", "branch"))
    connection.execute("select 1")
    connection.tpc_prepare()


def listen():
    with psycopg.connect(URL, autocommit=True) as listener, psycopg.connect(URL, autocommit=True) as sender:
        listener.execute("listen news")
        sender.execute("notify news, 'flash'")
        if [each.payload for each in listener.notifies(timeout=1, stop_after=1)] != ["flash"]:
            raise LookupError("the listener got nothing")


def sql_prepare():
    name = f"one_{secrets.token_hex(8)}"  # it stays on a server connection, where another run finds it
    with psycopg.connect(URL, autocommit=True) as connection:
        connection.execute(f"prepare {name} as select 1")
        # While another client has the server connection, this one gets another.
        with psycopg.connect(URL) as other:
            other.execute("select 1")
            connection.execute(f"execute {name}")


def outcome(attempt):
    try:
        attempt()
    except (psycopg.Error, LookupError) as error:
        return str(error)
    return "done"


attempts = (sslnegotiation_direct, channel_binding, two_phase_commit, listen, sql_prepare)
print(json.dumps({attempt.__name__: outcome(attempt) for attempt in attempts}))
