// Generated from infra/settings/table.ts by `npm run docs`; changes are overwritten.
import type * as pulumi from "@pulumi/pulumi";
import type { Profile } from "./profile.ts";

/** Every setting of a stack as an argument of `DatabaseStack`. Sums that do not add up are refused with a ConfigError too. */
export interface StackSettings {
  /**
   * standard keeps data; ci is a server for tests: data in memory, no durability, clones of a template beside the
   * database.
   *
   * @default - ci for stacks named ci-…, else standard.
   * @throws ConfigError - profile must be "standard" or "ci"
   */
  readonly profile?: Profile;
  /**
   * Hours from its creation after which `aiwdb reap` removes a stack named ci-… or pr-…; 0: never.
   *
   * @default - 24 for ci-…, 168 for pr-…, else 0.
   * @throws ConfigError - expiresAfterHours must be a whole number from 0 to 8760
   */
  readonly expiresAfterHours?: number;
  /**
   * Name of the database. The same in every stack; stacks that differ are refused.
   *
   * @default "ai_workflow_db"
   * @throws ConfigError - databaseName must be 1 to 55 characters of a-z, 0-9 and _, not beginning with a digit
   */
  readonly databaseName?: string;
  /**
   * Migrations are applied up to this rollout phase: 1 foundation, 2 authentication, 3 application, 4 optimization.
   *
   * @default 4
   * @throws ConfigError - rolloutPhase must be a whole number from 1 to 4
   */
  readonly rolloutPhase?: number;
  /**
   * Refuse to delete the data volume and the CA key; they outlive `down`.
   *
   * @default false
   * @throws ConfigError - protect must be true or false
   */
  readonly protect?: boolean;
  /**
   * Let app_user make temporary tables. With them come functions and types of its own making in every session, which
   * whoever has its password can use against code that runs as the owner.
   *
   * @default false
   * @throws ConfigError - appUserTemporary must be true or false
   */
  readonly appUserTemporary?: boolean;
  /**
   * Loopback port of PostgreSQL for migrations and administration. 0: one derived from the stack's name; `up` takes
   * the next one if that is taken.
   *
   * @default 0
   * @throws ConfigError - postgresPort must be a whole number from 0 to 65535
   */
  readonly postgresPort?: number;
  /**
   * Memory limit of the PostgreSQL container in MiB; buffers are computed from it.
   *
   * @default 512; 6144 in a stack of the profile ci
   * @throws ConfigError - postgresMemoryMiB must be a whole number from 256 to 1048576
   */
  readonly postgresMemoryMiB?: number;
  /**
   * CPU limit of the PostgreSQL container; worker processes are computed from it.
   *
   * @default 1; 2 in a stack of the profile ci
   * @throws ConfigError - postgresCpus must be a number from 0.1 to 256
   */
  readonly postgresCpus?: number;
  /**
   * PostgreSQL's max_connections.
   *
   * @default 80; 500 in a stack of the profile ci
   * @throws ConfigError - postgresMaxConnections must be a whole number from 10 to 10000
   * @see https://www.postgresql.org/docs/16/runtime-config-connection.html#GUC-MAX-CONNECTIONS
   */
  readonly postgresMaxConnections?: number;
  /**
   * Overrides of the computed PostgreSQL settings, as an object. What tunes the server may be set
   * (docs/configuration.md has the list); everything else is refused.
   *
   * @default {}
   * @throws ConfigError - postgresSettings must be an object of setting names and values
   * @see https://www.postgresql.org/docs/16/runtime-config.html
   */
  readonly postgresSettings?: Record<string, string>;
  /**
   * Containers and hosts besides this machine that may connect to PostgreSQL itself, past PgBouncer: a list of IPv4
   * addresses and networks.
   *
   * @default []
   * @throws ConfigError - postgresClientAddresses must be a list of IPv4 addresses and networks
   * @throws ConfigError - an entry of postgresClientAddresses must be an IPv4 address such as 192.0.2.7, or a network
   * of /8 to /32 by its first address such as 192.0.2.0/24
   */
  readonly postgresClientAddresses?: string[];
  /**
   * Published port of PgBouncer. 0: one derived from the stack's name; `up` takes the next one if that is taken.
   *
   * @default 0
   * @throws ConfigError - pgbouncerPort must be a whole number from 0 to 65535
   */
  readonly pgbouncerPort?: number;
  /**
   * Host address PgBouncer is published on. PostgreSQL itself is never published beyond loopback.
   *
   * @default "127.0.0.1"
   * @throws ConfigError - pgbouncerPublishAddress must be an IPv4 address
   */
  readonly pgbouncerPublishAddress?: string;
  /**
   * Through PgBouncer too, a role's password is taken with that role's certificate only. Each pooled role gets a
   * PgBouncer process and a port of its own: app_user pgbouncerPort, app_readonly the next one, app_monitor the one
   * after.
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
   * CPU limit of the PgBouncer container; one process uses at most one CPU.
   *
   * @default 1
   * @throws ConfigError - pgbouncerCpus must be a number from 0.1 to 16
   */
  readonly pgbouncerCpus?: number;
  /**
   * Client connections PgBouncer accepts (max_client_conn).
   *
   * @default 250; 2000 in a stack of the profile ci
   * @throws ConfigError - pgbouncerMaxClientConn must be a whole number from 1 to 20000
   * @see https://www.pgbouncer.org/config.html#max_client_conn
   */
  readonly pgbouncerMaxClientConn?: number;
  /**
   * Server connections per database and role (default_pool_size).
   *
   * @default 30
   * @throws ConfigError - pgbouncerDefaultPoolSize must be a whole number from 1 to 5000
   * @see https://www.pgbouncer.org/config.html#default_pool_size
   */
  readonly pgbouncerDefaultPoolSize?: number;
  /**
   * Further server connections for clients that wait too long (reserve_pool_size).
   *
   * @default 10
   * @throws ConfigError - pgbouncerReservePoolSize must be a whole number from 0 to 5000
   * @see https://www.pgbouncer.org/config.html#reserve_pool_size
   */
  readonly pgbouncerReservePoolSize?: number;
  /**
   * Seconds a client waits before the reserve is used (reserve_pool_timeout).
   *
   * @default 5
   * @throws ConfigError - pgbouncerReservePoolTimeoutSec must be a whole number from 1 to 3600
   * @see https://www.pgbouncer.org/config.html#reserve_pool_timeout
   */
  readonly pgbouncerReservePoolTimeoutSec?: number;
  /**
   * Server connections to the database in all: both pool modes, and the two that look secrets up.
   *
   * @default 50
   * @throws ConfigError - pgbouncerMaxDbConnections must be a whole number from 1 to 10000
   * @see https://www.pgbouncer.org/config.html#max_db_connections
   */
  readonly pgbouncerMaxDbConnections?: number;
  /**
   * The part of pgbouncerMaxDbConnections kept for session mode.
   *
   * @default 8
   * @throws ConfigError - pgbouncerSessionDbConnections must be a whole number from 1 to 10000
   */
  readonly pgbouncerSessionDbConnections?: number;
  /**
   * Idle seconds after which a server connection is checked before use (server_check_delay).
   *
   * @default 30
   * @throws ConfigError - pgbouncerServerCheckDelaySec must be a whole number from 0 to 3600
   * @see https://www.pgbouncer.org/config.html#server_check_delay
   */
  readonly pgbouncerServerCheckDelaySec?: number;
  /**
   * server_connect_timeout in seconds.
   *
   * @default 15
   * @throws ConfigError - pgbouncerServerConnectTimeoutSec must be a whole number from 1 to 3600
   * @see https://www.pgbouncer.org/config.html#server_connect_timeout
   */
  readonly pgbouncerServerConnectTimeoutSec?: number;
  /**
   * Seconds after a failed login at PostgreSQL until PgBouncer tries again for the same role and database
   * (server_login_retry).
   *
   * @default 0.1
   * @throws ConfigError - pgbouncerServerLoginRetrySec must be a number from 0.05 to 3600
   * @see https://www.pgbouncer.org/config.html#server_login_retry
   */
  readonly pgbouncerServerLoginRetrySec?: number;
  /**
   * query_timeout in seconds; 0 switches it off.
   *
   * @default 120
   * @throws ConfigError - pgbouncerQueryTimeoutSec must be a whole number from 0 to 86400
   * @see https://www.pgbouncer.org/config.html#query_timeout
   */
  readonly pgbouncerQueryTimeoutSec?: number;
  /**
   * query_wait_timeout in seconds; 0 switches it off.
   *
   * @default 30
   * @throws ConfigError - pgbouncerQueryWaitTimeoutSec must be a whole number from 0 to 86400
   * @see https://www.pgbouncer.org/config.html#query_wait_timeout
   */
  readonly pgbouncerQueryWaitTimeoutSec?: number;
  /**
   * client_login_timeout in seconds.
   *
   * @default 60
   * @throws ConfigError - pgbouncerClientLoginTimeoutSec must be a whole number from 1 to 3600
   * @see https://www.pgbouncer.org/config.html#client_login_timeout
   */
  readonly pgbouncerClientLoginTimeoutSec?: number;
  /**
   * server_lifetime in seconds.
   *
   * @default 3600
   * @throws ConfigError - pgbouncerServerLifetimeSec must be a whole number from 0 to 604800
   * @see https://www.pgbouncer.org/config.html#server_lifetime
   */
  readonly pgbouncerServerLifetimeSec?: number;
  /**
   * server_idle_timeout in seconds.
   *
   * @default 600
   * @throws ConfigError - pgbouncerServerIdleTimeoutSec must be a whole number from 0 to 604800
   * @see https://www.pgbouncer.org/config.html#server_idle_timeout
   */
  readonly pgbouncerServerIdleTimeoutSec?: number;
  /**
   * Prepared statements kept per server connection, so that they work in transaction mode (max_prepared_statements).
   *
   * @default 200
   * @throws ConfigError - pgbouncerMaxPreparedStatements must be a whole number from 1 to 10000
   * @see https://www.pgbouncer.org/config.html#max_prepared_statements
   */
  readonly pgbouncerMaxPreparedStatements?: number;
  /**
   * Overrides of further PgBouncer settings, as an object. What tunes the pooler may be set (docs/configuration.md has
   * the list); everything else is refused.
   *
   * @default {}
   * @throws ConfigError - pgbouncerSettings must be an object of setting names and values
   * @see https://www.pgbouncer.org/config.html
   */
  readonly pgbouncerSettings?: Record<string, string>;
  /**
   * Minutes between runs of the maintenance container (partitions, retention, materialized views), in stacks whose
   * rolloutPhase is 4. 0: no such container; run `aiwdb maintain` yourself.
   *
   * @default 60
   * @throws ConfigError - maintenanceIntervalMin must be a whole number from 0 to 10080
   */
  readonly maintenanceIntervalMin?: number;
  /**
   * Seconds between the engine's health checks. `up` and `status` run the same check themselves, without waiting.
   *
   * @default 30
   * @throws ConfigError - healthCheckIntervalSec must be a whole number from 1 to 3600
   */
  readonly healthCheckIntervalSec?: number;
  /**
   * Seconds a container may take to stop before it is killed; a large buffer pool needs time to write.
   *
   * @default 120; 10 in a stack of the profile ci
   * @throws ConfigError - stopTimeoutSec must be a whole number from 10 to 3600
   */
  readonly stopTimeoutSec?: number;
  /**
   * Size in MiB at which a container's log file is rotated; three are kept.
   *
   * @default 20
   * @throws ConfigError - logMaxSizeMiB must be a whole number from 1 to 10240
   */
  readonly logMaxSizeMiB?: number;
  /**
   * Subnet of the stack's network.
   *
   * @default - one derived from the stack's name in 10.208.0.0/12; a first `up` takes the next one, also from
   * 172.24.0.0/13 and 192.168.128.0/17, if that is taken or a route of this machine, such as a VPN's, leads there.
   * @throws ConfigError - networkSubnet must be an IPv4 network of /20 to /28, such as 10.213.7.0/28
   */
  readonly networkSubnet?: string;
  /**
   * Life of the certificate authority in days; rounded up to whole hours.
   *
   * @default 3650
   * @throws ConfigError - certCaValidityDays must be a number from 1 to 36500
   */
  readonly certCaValidityDays?: number;
  /**
   * Life of server and client certificates in days; rounded up to whole hours.
   *
   * @default 90
   * @throws ConfigError - certLeafValidityDays must be a number from 0.05 to 3650
   */
  readonly certLeafValidityDays?: number;
  /**
   * Certificates are renewed by the first `up` within this many days of their end.
   *
   * @default 30
   * @throws ConfigError - certRenewBeforeDays must be a number from 0 to 3650
   */
  readonly certRenewBeforeDays?: number;
  /**
   * Further DNS names clients use for the servers; they go into both server certificates.
   *
   * @default []
   * @throws ConfigError - certServerHostNames must be a list of host names
   * @throws ConfigError - an entry of certServerHostNames is not a host name
   */
  readonly certServerHostNames?: string[];
  /**
   * Raise it to replace every generated password at the next `up`.
   *
   * @default 1
   * @throws ConfigError - passwordVersion must be a whole number from 1 to 1000000
   */
  readonly passwordVersion?: number;
  /**
   * Secret. Password of ai_workflow_owner; generated if not given.
   *
   * @default - generated
   * @throws ConfigError - ownerPassword must be a secret output
   * @throws ConfigError - ownerPassword must have at least 20 characters
   * @throws ConfigError - ownerPassword must have at most 128 characters
   * @throws ConfigError - ownerPassword must be printable ASCII
   */
  readonly ownerPassword?: pulumi.Input<string> | undefined;
  /**
   * Secret. Password of app_user; generated if not given.
   *
   * @default - generated
   * @throws ConfigError - appUserPassword must be a secret output
   * @throws ConfigError - appUserPassword must have at least 20 characters
   * @throws ConfigError - appUserPassword must have at most 128 characters
   * @throws ConfigError - appUserPassword must be printable ASCII
   */
  readonly appUserPassword?: pulumi.Input<string> | undefined;
  /**
   * Secret. Password of app_readonly; generated if not given.
   *
   * @default - generated
   * @throws ConfigError - appReadonlyPassword must be a secret output
   * @throws ConfigError - appReadonlyPassword must have at least 20 characters
   * @throws ConfigError - appReadonlyPassword must have at most 128 characters
   * @throws ConfigError - appReadonlyPassword must be printable ASCII
   */
  readonly appReadonlyPassword?: pulumi.Input<string> | undefined;
  /**
   * Secret. Password of app_monitor; generated if not given.
   *
   * @default - generated
   * @throws ConfigError - appMonitorPassword must be a secret output
   * @throws ConfigError - appMonitorPassword must have at least 20 characters
   * @throws ConfigError - appMonitorPassword must have at most 128 characters
   * @throws ConfigError - appMonitorPassword must be printable ASCII
   */
  readonly appMonitorPassword?: pulumi.Input<string> | undefined;
}
