"""Prepares a statement through the pooler, as drivers do by themselves, and prints its columns as JSON."""

import json
import os

import psycopg

with psycopg.connect(os.environ["DATABASE_URL"], prepare_threshold=0) as connection:
    cursor = connection.execute("select * from public.users limit 1")
    print(json.dumps([column.name for column in cursor.description]))
