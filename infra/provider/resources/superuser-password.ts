import type Docker from "dockerode";
import { hasCode, messageOf, StateError } from "../../../base/errors.ts";
import { withConnection, type Connection } from "../../../database/connection.ts";
import { localSql } from "../../../database/local-sql.ts";
import { engine } from "../../../toolchain/engine/containers.ts";
import { changedProperties, UNKNOWN, type Operation, type ResourceType } from "../resource.ts";
import { until } from "../../../base/retry.ts";
import { scramSecret } from "../../../database/scram.ts";

export interface SuperuserPasswordInputs {
  readonly container: string;
  /** Of the data. */
  readonly volume: string;
  /** Secret. */
  readonly connection: Connection;
}

/** Where the server is, known once the superuser can log in. */
export interface SuperuserPasswordOutputs {
  readonly readyHost: string;
  readonly readyPort: number;
  /** Of the settings that hide the password in logs. */
  readonly version: number;
}

const INVALID_PASSWORD = "28P01";

/** Raise it when the settings below change, so that existing stacks get them. */
const VERSION = 1;

/**
 * Settings of the superuser, whose statements carry the roles' SCRAM secrets. With them no secret stands in the log or
 * among the running statements, whatever is logged of other roles. A role's own settings win over postgresql.conf.
 */
const UNSEEN: Readonly<Record<string, string>> = {
  log_statement: "none",
  log_min_error_statement: "panic",
  log_min_duration_statement: "-1",
  log_min_duration_sample: "-1",
  log_transaction_sample_rate: "0",
  log_min_messages: "warning",
  track_activities: "off",
};

async function setPassword({ container, connection }: SuperuserPasswordInputs, signal: AbortSignal): Promise<void> {
  const settings = Object.entries(UNSEEN).map(([name, value]) => `set ${name} = ${value};`);
  const statements = [
    ...settings, // a session that begins before the role has them
    `alter role postgres with password '${scramSecret(connection.password)}';`,
    ...settings.map((set) => `alter role postgres ${set}`),
  ];
  await localSql(engine(), container, statements.join("\n"), { signal });
}

/** Whether the superuser has a password yet; waits for a server that is still starting or recovering. */
export async function hasPassword(docker: Docker, container: string, signal?: AbortSignal): Promise<boolean> {
  const ask = "select rolpassword is not null from pg_authid where rolname = 'postgres'";
  let last = "";
  const answer = await until(
    async () => {
      try {
        const value = await localSql(docker, container, ask, signal && { signal });
        return value === "t" || value === "f" ? value : undefined; // anything else is no answer to act on
      } catch (error) {
        // psql says which: starting up, recovering after a crash, no socket yet.
        last = messageOf(error);
        return undefined;
      }
    },
    { deadlineMs: 60_000, everyMs: 200, signal },
  );
  if (answer !== undefined) return answer === "t";
  throw new StateError(
    `PostgreSQL in container ${container} does not answer on its local socket after 60 s; run \`up\` again. ${last}`,
  );
}

async function accepted(connection: Connection): Promise<boolean> {
  try {
    await withConnection(connection, (client) => client.query("select 1"));
    return true;
  } catch (error) {
    if (hasCode(error, INVALID_PASSWORD)) return false;
    throw error;
  }
}

async function establish(
  inputs: SuperuserPasswordInputs,
  { run, signal }: Operation,
): Promise<SuperuserPasswordOutputs> {
  const { container, volume, connection } = inputs;
  const isNew = !(await hasPassword(engine(), container, signal));
  if (isNew || !(await accepted(connection))) {
    // The volume outlived the state that knew its passwords. To lock everybody out silently would be wrong. So would be
    // to take the database over without asking.
    if (!isNew && !run.takeOver) throw ofLostState(volume);
    await setPassword(inputs, signal);
  }
  if (!(await accepted(connection)))
    throw new StateError(`PostgreSQL refuses the password just set for ${connection.user}.`);
  return { readyHost: connection.host, readyPort: connection.port, version: VERSION };
}

function ofLostState(volume: string): StateError {
  return new StateError(
    `The data volume ${volume} belongs to a stack whose state is lost: its passwords are not the ones of this state.`,
    [
      {
        subject: volume,
        problem: "its data is untouched, and nobody can log in with the new passwords",
        remedy:
          "Run `aiwdb up` for this stack with --reset-passwords to keep the data and give every role a new password through the container's local socket, " +
          "or restore the state, or remove the volume if the data is not needed.",
      },
    ],
  );
}

/**
 * The bootstrap superuser's password. It is set through the container's local socket. A new cluster has no password, so
 * that nobody can log in over the network before.
 */
export const superuserPassword: ResourceType<SuperuserPasswordInputs, SuperuserPasswordOutputs> = {
  diff(olds, news) {
    const changed = news.connection === UNKNOWN ? ["connection"] : changedProperties(olds, news);
    return { changed: olds.version === VERSION ? changed : [...changed, "version"] };
  },
  // Unknown, they would make everything in the database look changed.
  plan: (_olds, { connection }) =>
    connection === UNKNOWN ? {} : { readyHost: connection.host, readyPort: connection.port },
  create: async (inputs, operation) => ({ id: inputs.volume, outputs: await establish(inputs, operation) }),
  async update(_id, olds, news, operation) {
    const samePassword = olds.connection.password === news.connection.password;
    if (!samePassword || olds.version !== VERSION) await setPassword(news, operation.signal);
    return establish(news, operation);
  },
};
