// Generated from infra/settings/table.ts by `npm run docs`; changes are overwritten.
import type * as pulumi from "@pulumi/pulumi";
import type { FurtherRole } from "./further-roles.ts";
import type { Profile } from "./profile.ts";

/**
 * Every setting of a stack as an argument of `DatabaseStack`.
 *
 * @throws ConfigError also for settings that are valid one by one but do not fit together
 */
export interface StackSettings {
  /**
   * What the stack is for. A stack of the profile standard keeps its data. One of the profile ci is a server for
   * tests: its data is in memory, a crash loses it, and test databases are copied from a template.
   *
   * @default - ci for stacks named ci-…, else standard.
   * @throws ConfigError - profile must be "standard" or "ci"
   */
  readonly profile?: Profile;
  /**
   * Hours after its creation at which the stack expires. `aiwdb reap` removes stacks that have expired. 0: it never
   * expires. Only stacks named ci-… and pr-… may expire.
   *
   * @default - 24 for stacks named ci-…, 168 for pr-…, else 0.
   * @throws ConfigError - expiresAfterHours must be a whole number from 0 to 8760
   */
  readonly expiresAfterHours?: number;
  /**
   * Name of the database. Every stack must have the same one: the package refuses stacks whose names differ.
   *
   * @default "ai_workflow_db"
   * @throws ConfigError - databaseName must be 1 to 55 characters of a-z, 0-9 and _, not beginning with a digit
   * @throws ConfigError - databaseName is reserved by PostgreSQL or PgBouncer
   */
  readonly databaseName?: string;
  /**
   * Last rollout phase whose migrations `up` applies: 1 foundation, 2 authentication, 3 application, 4 optimization.
   *
   * @default 4
   * @throws ConfigError - rolloutPhase must be a whole number from 1 to 4
   */
  readonly rolloutPhase?: number;
  /**
   * Refuse to delete the data volume and the certificate authority's key. `down` leaves both.
   *
   * @default false
   * @throws ConfigError - protect must be true or false
   */
  readonly protect?: boolean;
  /**
   * Further login roles, for people and programs such as reporting: an object of names. Each has `access` (`read`:
   * what app_readonly may; `write`: what app_user may), and if wanted `connectionLimit` (connections at the same time;
   * 5) and `pooled` (whether it may come through PgBouncer; true). Each gets a password, a client certificate and
   * files of its own. Not in the profile ci.
   *
   * @default {}
   * @throws ConfigError - roles must be an object of role names and what each role is
   * @throws ConfigError - a name in roles must be 1 to 63 characters of a-z, 0-9 and _, beginning with a letter
   * @throws ConfigError - a name in roles is reserved
   * @throws ConfigError - access must be "read" or "write"
   * @see https://www.postgresql.org/docs/16/user-manag.html
   */
  readonly roles?: Record<string, FurtherRole>;
  /**
   * Let app_user make temporary tables. It can then also make temporary functions and types. Whoever has its password
   * can use these against code that runs as the owner.
   *
   * @default false
   * @throws ConfigError - appUserTemporary must be true or false
   * @see https://www.postgresql.org/docs/16/ddl-priv.html
   */
  readonly appUserTemporary?: boolean;
  /**
   * Seconds that a statement of app_user may run before PostgreSQL cancels it (statement_timeout). The session goes
   * on, and SET raises the limit. 0: no limit.
   *
   * @default - 120 with protect, else 0.
   * @throws ConfigError - appUserStatementTimeoutSec must be a whole number from 0 to 86400
   */
  readonly appUserStatementTimeoutSec?: number;
  /**
   * Names of extensions that the database has, such as pgcrypto (docs/configuration.md has the list). `up` creates
   * them in the schema public, before it applies migrations. It drops one that you take out of the list; if something
   * in the database depends on it, `up` and the preview refuse.
   *
   * @default []
   * @throws ConfigError - extensions must be a list of names of extensions
   * @throws ConfigError - an entry of extensions must have no other extensions than btree_gin, btree_gist, citext,
   * cube, dict_int, fuzzystrmatch, hstore, isn, lo, ltree, pg_trgm, pgcrypto, seg, tablefunc, tcn, tsm_system_rows,
   * tsm_system_time, unaccent, uuid-ossp ("-": the images do not have it)
   * @see https://www.postgresql.org/docs/16/contrib.html
   */
  readonly extensions?: string[];
  /**
   * Loopback port of PostgreSQL, for migrations and administration. 0: a port derived from the stack's name. If that
   * port is taken, `up` takes the next one.
   *
   * @default 0
   * @throws ConfigError - postgresPort must be a whole number from 0 to 65535
   */
  readonly postgresPort?: number;
  /**
   * Memory limit of the PostgreSQL container in MiB. The package computes the server's buffers from it.
   *
   * @default 512; 6144 in a stack of the profile ci
   * @throws ConfigError - postgresMemoryMiB must be a whole number from 256 to 1048576
   */
  readonly postgresMemoryMiB?: number;
  /**
   * CPU limit of the PostgreSQL container, in CPUs; 0.5 is half of one. The package computes the number of worker
   * processes from it.
   *
   * @default 1; 2 in a stack of the profile ci
   * @throws ConfigError - postgresCpus must be a number from 0.1 to 256
   */
  readonly postgresCpus?: number;
  /**
   * Connections that PostgreSQL accepts at the same time (max_connections).
   *
   * @default - what the pooler may open (pgbouncerMaxDbConnections, pgbouncerSessionDbConnections and two connections
   * of each PgBouncer process to look up passwords), 10 for direct clients, 3 for superusers and the connectionLimit
   * of each of the setting roles that is not pooled; 85 with the other defaults. In the profile ci: 500.
   * @throws ConfigError - postgresMaxConnections must be a whole number from 10 to 10000
   * @see https://www.postgresql.org/docs/16/runtime-config-connection.html#GUC-MAX-CONNECTIONS
   */
  readonly postgresMaxConnections?: number;
  /**
   * PostgreSQL settings that replace the computed ones: an object of names and values. Settings that tune the server
   * are accepted (docs/configuration.md has the list); all others are refused.
   *
   * @default {}
   * @throws ConfigError - postgresSettings must be an object of setting names and values
   * @throws ConfigError - postgresSettings must have no setting that docs/configuration.md does not list
   * @see https://www.postgresql.org/docs/16/runtime-config.html
   */
  readonly postgresSettings?: Record<string, string>;
  /**
   * IPv4 addresses and networks of containers and hosts that may connect to PostgreSQL directly, without PgBouncer.
   * This machine may in any case.
   *
   * @default []
   * @throws ConfigError - postgresClientAddresses must be a list of IPv4 addresses and networks
   * @throws ConfigError - an entry of postgresClientAddresses must be an IPv4 address such as 192.0.2.7, or a network
   * of /8 to /32 by its first address such as 192.0.2.0/24
   * @see https://www.postgresql.org/docs/16/auth-pg-hba-conf.html
   */
  readonly postgresClientAddresses?: string[];
  /**
   * Port of PgBouncer at pgbouncerPublishAddress. 0: a port derived from the stack's name. If that port is taken, `up`
   * takes the next one.
   *
   * @default 0
   * @throws ConfigError - pgbouncerPort must be a whole number from 0 to 65535
   */
  readonly pgbouncerPort?: number;
  /**
   * IPv4 address of the host at which the engine publishes PgBouncer's port. It publishes PostgreSQL's port at
   * loopback only.
   *
   * @default "127.0.0.1"
   * @throws ConfigError - pgbouncerPublishAddress must be an IPv4 address
   */
  readonly pgbouncerPublishAddress?: string;
  /**
   * PgBouncer accepts a role's password only together with that role's certificate, as PostgreSQL does for direct
   * connections. Each pooled role gets a PgBouncer process and a port of its own: app_user has pgbouncerPort,
   * app_readonly the next port, and app_monitor the port after that.
   *
   * @default false
   * @throws ConfigError - pgbouncerBindCertificates must be true or false
   */
  readonly pgbouncerBindCertificates?: boolean;
  /**
   * Memory limit of the PgBouncer container in MiB.
   *
   * @default 128; 256 in a stack of the profile ci
   * @throws ConfigError - pgbouncerMemoryMiB must be a whole number from 32 to 65536
   */
  readonly pgbouncerMemoryMiB?: number;
  /**
   * CPU limit of the PgBouncer container, in CPUs; 0.5 is half of one. One PgBouncer process uses at most one CPU.
   *
   * @default 1
   * @throws ConfigError - pgbouncerCpus must be a number from 0.1 to 16
   */
  readonly pgbouncerCpus?: number;
  /**
   * Client connections that each PgBouncer process accepts (max_client_conn).
   *
   * @default 250; 2000 in a stack of the profile ci
   * @throws ConfigError - pgbouncerMaxClientConn must be a whole number from 1 to 20000
   * @see https://www.pgbouncer.org/config.html#max_client_conn
   */
  readonly pgbouncerMaxClientConn?: number;
  /**
   * Server connections that PgBouncer opens at most for each database and role (default_pool_size).
   *
   * @default 30
   * @throws ConfigError - pgbouncerDefaultPoolSize must be a whole number from 1 to 5000
   * @see https://www.pgbouncer.org/config.html#default_pool_size
   */
  readonly pgbouncerDefaultPoolSize?: number;
  /**
   * Further server connections of a pool, for clients that wait longer than pgbouncerReservePoolTimeoutSec
   * (reserve_pool_size). 0: none.
   *
   * @default 10
   * @throws ConfigError - pgbouncerReservePoolSize must be a whole number from 0 to 5000
   * @see https://www.pgbouncer.org/config.html#reserve_pool_size
   */
  readonly pgbouncerReservePoolSize?: number;
  /**
   * Seconds that a client waits before PgBouncer uses the reserve (reserve_pool_timeout).
   *
   * @default 5
   * @throws ConfigError - pgbouncerReservePoolTimeoutSec must be a whole number from 1 to 3600
   * @see https://www.pgbouncer.org/config.html#reserve_pool_timeout
   */
  readonly pgbouncerReservePoolTimeoutSec?: number;
  /**
   * Server connections that PgBouncer opens at most for transaction mode, all roles together (max_db_connections).
   *
   * @default 50
   * @throws ConfigError - pgbouncerMaxDbConnections must be a whole number from 1 to 10000
   * @see https://www.pgbouncer.org/config.html#max_db_connections
   */
  readonly pgbouncerMaxDbConnections?: number;
  /**
   * Server connections that PgBouncer opens at most for session mode, all roles together. They come on top of
   * pgbouncerMaxDbConnections. A client in session mode holds one as long as it is connected; one more client waits
   * for pgbouncerQueryWaitTimeoutSec and is then disconnected.
   *
   * @default 20
   * @throws ConfigError - pgbouncerSessionDbConnections must be a whole number from 1 to 10000
   */
  readonly pgbouncerSessionDbConnections?: number;
  /**
   * After each transaction in transaction mode, PgBouncer takes back what the client left behind on the server
   * connection: settings, temporary tables, advisory locks, LISTEN, SQL-level PREPARE, cursors WITH HOLD
   * (server_reset_query_always). Statements that drivers prepare, and their plans, stay. It costs a further query for
   * each transaction: up to half of the throughput of short queries.
   *
   * @default false
   * @throws ConfigError - pgbouncerResetAfterTransaction must be true or false
   */
  readonly pgbouncerResetAfterTransaction?: boolean;
  /**
   * PgBouncer checks a server connection before use if it has been idle for longer than this many seconds
   * (server_check_delay). 0: it always checks.
   *
   * @default 30
   * @throws ConfigError - pgbouncerServerCheckDelaySec must be a whole number from 0 to 3600
   * @see https://www.pgbouncer.org/config.html#server_check_delay
   */
  readonly pgbouncerServerCheckDelaySec?: number;
  /**
   * Seconds in which PgBouncer must connect and log in to PostgreSQL. After that it gives the connection up
   * (server_connect_timeout).
   *
   * @default 15
   * @throws ConfigError - pgbouncerServerConnectTimeoutSec must be a whole number from 1 to 3600
   * @see https://www.pgbouncer.org/config.html#server_connect_timeout
   */
  readonly pgbouncerServerConnectTimeoutSec?: number;
  /**
   * Seconds that PgBouncer waits after a failed login at PostgreSQL, until it tries again for the same role and
   * database (server_login_retry).
   *
   * @default 0.1
   * @throws ConfigError - pgbouncerServerLoginRetrySec must be a number from 0.05 to 3600
   * @see https://www.pgbouncer.org/config.html#server_login_retry
   */
  readonly pgbouncerServerLoginRetrySec?: number;
  /**
   * Seconds that a query may run before PgBouncer ends its client's connection (query_timeout). 0: no limit.
   * appUserStatementTimeoutSec ends only the statement.
   *
   * @default 0
   * @throws ConfigError - pgbouncerQueryTimeoutSec must be a whole number from 0 to 86400
   * @see https://www.pgbouncer.org/config.html#query_timeout
   */
  readonly pgbouncerQueryTimeoutSec?: number;
  /**
   * Seconds that a query may wait for a server connection before PgBouncer disconnects its client
   * (query_wait_timeout). 0: no limit.
   *
   * @default 30
   * @throws ConfigError - pgbouncerQueryWaitTimeoutSec must be a whole number from 0 to 86400
   * @see https://www.pgbouncer.org/config.html#query_wait_timeout
   */
  readonly pgbouncerQueryWaitTimeoutSec?: number;
  /**
   * Seconds in which a client must log in. After that PgBouncer disconnects it (client_login_timeout).
   *
   * @default 60
   * @throws ConfigError - pgbouncerClientLoginTimeoutSec must be a whole number from 1 to 3600
   * @see https://www.pgbouncer.org/config.html#client_login_timeout
   */
  readonly pgbouncerClientLoginTimeoutSec?: number;
  /**
   * Age in seconds from which PgBouncer closes a server connection that no client uses (server_lifetime). 0: PgBouncer
   * uses each connection once.
   *
   * @default 3600
   * @throws ConfigError - pgbouncerServerLifetimeSec must be a whole number from 0 to 604800
   * @see https://www.pgbouncer.org/config.html#server_lifetime
   */
  readonly pgbouncerServerLifetimeSec?: number;
  /**
   * Idle seconds after which PgBouncer closes a server connection (server_idle_timeout). 0: no limit.
   *
   * @default 600
   * @throws ConfigError - pgbouncerServerIdleTimeoutSec must be a whole number from 0 to 604800
   * @see https://www.pgbouncer.org/config.html#server_idle_timeout
   */
  readonly pgbouncerServerIdleTimeoutSec?: number;
  /**
   * Prepared statements that PgBouncer keeps for each server connection. With them, prepared statements work in
   * transaction mode (max_prepared_statements).
   *
   * @default 200
   * @throws ConfigError - pgbouncerMaxPreparedStatements must be a whole number from 1 to 10000
   * @see https://www.pgbouncer.org/config.html#max_prepared_statements
   */
  readonly pgbouncerMaxPreparedStatements?: number;
  /**
   * Further PgBouncer settings: an object of names and values. Settings that tune the pooler are accepted
   * (docs/configuration.md has the list); all others are refused.
   *
   * @default {}
   * @throws ConfigError - pgbouncerSettings must be an object of setting names and values
   * @throws ConfigError - pgbouncerSettings must have no setting that docs/configuration.md does not list
   * @see https://www.pgbouncer.org/config.html
   */
  readonly pgbouncerSettings?: Record<string, string>;
  /**
   * Minutes that the maintenance container waits between two runs. A run makes partitions ahead, carries out retention
   * and refreshes the materialized views. Stacks of the profile standard whose rolloutPhase is 4 have this container.
   * 0: there is none, and you run `aiwdb maintain` yourself.
   *
   * @default 60
   * @throws ConfigError - maintenanceIntervalMin must be a whole number from 0 to 10080
   */
  readonly maintenanceIntervalMin?: number;
  /**
   * Seconds between two health checks of a container by the engine. `up` and `status` run the same check themselves,
   * without waiting.
   *
   * @default 30
   * @throws ConfigError - healthCheckIntervalSec must be a whole number from 1 to 3600
   */
  readonly healthCheckIntervalSec?: number;
  /**
   * Seconds that a container may take to stop before the engine kills it. PostgreSQL needs time to write a large
   * buffer pool.
   *
   * @default 120; 10 in a stack of the profile ci
   * @throws ConfigError - stopTimeoutSec must be a whole number from 10 to 3600
   */
  readonly stopTimeoutSec?: number;
  /**
   * Size in MiB at which the engine begins a new log file of a container. It keeps three files.
   *
   * @default 20
   * @throws ConfigError - logMaxSizeMiB must be a whole number from 1 to 10240
   */
  readonly logMaxSizeMiB?: number;
  /**
   * Subnet of the stack's network, in the notation address/length.
   *
   * @default - a subnet of 10.208.0.0/12, derived from the stack's name. If that one is taken, or a route of this
   * machine, such as a VPN's, leads there, a first `up` takes the next one, also from 172.24.0.0/13 and
   * 192.168.128.0/17.
   * @throws ConfigError - networkSubnet must be an IPv4 network of /20 to /28, such as 10.213.7.0/28
   */
  readonly networkSubnet?: string;
  /**
   * Days that the certificate authority is valid, rounded up to whole hours.
   *
   * @default 3650
   * @throws ConfigError - certCaValidityDays must be a number from 1 to 36500
   */
  readonly certCaValidityDays?: number;
  /**
   * Days that server and client certificates are valid, rounded up to whole hours.
   *
   * @default 90
   * @throws ConfigError - certLeafValidityDays must be a number from 0.05 to 3650
   */
  readonly certLeafValidityDays?: number;
  /**
   * Days before the end of a certificate from which `up` renews it.
   *
   * @default 30
   * @throws ConfigError - certRenewBeforeDays must be a number from 0 to 3650
   */
  readonly certRenewBeforeDays?: number;
  /**
   * Further DNS names by which clients reach the servers. Both server certificates have them.
   *
   * @default []
   * @throws ConfigError - certServerHostNames must be a list of host names
   * @throws ConfigError - an entry of certServerHostNames is not a host name
   */
  readonly certServerHostNames?: string[];
  /**
   * Version of the generated passwords. After you raise it, the next `up` replaces all of them.
   *
   * @default 1
   * @throws ConfigError - passwordVersion must be a whole number from 1 to 1000000
   */
  readonly passwordVersion?: number;
  /**
   * Password of ai_workflow_owner, as a secret. Without it the package generates one.
   *
   * @default - generated
   * @throws ConfigError - ownerPassword must be a secret output
   * @throws ConfigError - ownerPassword must have at least 20 characters
   * @throws ConfigError - ownerPassword must have at most 128 characters
   * @throws ConfigError - ownerPassword must be printable ASCII
   */
  readonly ownerPassword?: pulumi.Input<string> | undefined;
  /**
   * Password of app_user, as a secret. Without it the package generates one.
   *
   * @default - generated
   * @throws ConfigError - appUserPassword must be a secret output
   * @throws ConfigError - appUserPassword must have at least 20 characters
   * @throws ConfigError - appUserPassword must have at most 128 characters
   * @throws ConfigError - appUserPassword must be printable ASCII
   */
  readonly appUserPassword?: pulumi.Input<string> | undefined;
  /**
   * Password of app_readonly, as a secret. Without it the package generates one.
   *
   * @default - generated
   * @throws ConfigError - appReadonlyPassword must be a secret output
   * @throws ConfigError - appReadonlyPassword must have at least 20 characters
   * @throws ConfigError - appReadonlyPassword must have at most 128 characters
   * @throws ConfigError - appReadonlyPassword must be printable ASCII
   */
  readonly appReadonlyPassword?: pulumi.Input<string> | undefined;
  /**
   * Password of app_monitor, as a secret. Without it the package generates one.
   *
   * @default - generated
   * @throws ConfigError - appMonitorPassword must be a secret output
   * @throws ConfigError - appMonitorPassword must have at least 20 characters
   * @throws ConfigError - appMonitorPassword must have at most 128 characters
   * @throws ConfigError - appMonitorPassword must be printable ASCII
   */
  readonly appMonitorPassword?: pulumi.Input<string> | undefined;
}
