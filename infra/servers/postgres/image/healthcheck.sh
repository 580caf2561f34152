#!/bin/sh
# Healthy means that a query is answered, not only that the port is open.
PGCONNECT_TIMEOUT=3 exec psql -XAtq -h /run/postgresql -U postgres -d postgres -c 'select 1'
