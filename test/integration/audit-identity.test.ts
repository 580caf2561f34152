import type pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from "vitest";
import { connectionFor } from "../../stack/connections.ts";
import { asSuperuser, open, query, shell } from "../helpers/connect.ts";

const NAME = `audit-identity-${process.pid}`;
const opened: pg.Client[] = [];

/** A client of the pooler in transaction mode. */
async function client(): Promise<pg.Client> {
  const connected = await open("app_user", "transaction");
  opened.push(connected);
  return connected;
}

const backendPid = async (on: pg.Client): Promise<number> =>
  (await on.query("select pg_backend_pid() as pid")).rows[0].pid;

/**
 * Another client, inside a transaction on that very server connection: whoever gets another one holds it, so that the
 * wanted one is left.
 */
async function nextClientOn(pid: number): Promise<pg.Client> {
  const others: pg.Client[] = [];
  for (let tries = 0; tries < 100; tries += 1) {
    const next = await client();
    await next.query("begin");
    if ((await backendPid(next)) === pid) {
      await Promise.all(others.map((other) => other.query("rollback")));
      return next;
    }
    others.push(next);
  }
  throw new Error(`no client of the pooler was given server connection ${pid}`);
}

/** Changes the user's row as `on`, commits, and returns what the trail says of it. */
async function changeAndRead(on: pg.Client, theme: string): Promise<Record<string, unknown>[]> {
  await on.query("update public.users set theme = $1 where username = $2", [theme, NAME]);
  await on.query("commit");
  return query(
    "ai_workflow_owner",
    "direct",
    `select user_id, session_id, ip_address, user_agent, security_context - 'subject_user_id' as context
     from audit.audit_log where table_name = 'users' and new_values ->> 'theme' = '${theme}'
       and security_context ->> 'subject_user_id' = (select id::text from public.users where username = '${NAME}')`,
  );
}

const NOBODY = { user_id: null, session_id: null, ip_address: null, user_agent: null };
const TRIGGER = { db_role: "app_user", origin: "trigger" };

beforeAll(async () => {
  await query(
    "app_user",
    "direct",
    `insert into public.users (username, email, hashed_password) values ('${NAME}', '${NAME}@example.org', 'x')`,
  );
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((each) => each.end()));
});
afterAll(async () => {
  await asSuperuser((superuser) => superuser.query("delete from public.users where username = $1", [NAME]));
});

describe("two clients that share a server connection of the pooler", () => {
  test("don't share an identity that the first set for the session", async () => {
    const first = await client();
    await first.query("begin");
    const pid = await backendPid(first);
    await first.query("set app.user_id = '4242'");
    await first.query("set app.session_id = 'stolen'");
    await first.query("commit");

    const second = await nextClientOn(pid);
    // The setting is there, or this test would show nothing.
    expect((await second.query("show app.user_id")).rows).toEqual([{ "app.user_id": "4242" }]);
    expect(await changeAndRead(second, "left by SET")).toEqual([
      { ...NOBODY, context: { ...TRIGGER, unproven_identity: true } },
    ]);

    const third = await nextClientOn(pid);
    await third.query("reset app.user_id");
    await third.query("reset app.session_id");
    await third.query("commit");
  });

  test("don't share one that the first proved, whether it stays or leaves", async () => {
    for (const leaves of [false, true]) {
      const first = await client();
      await first.query("begin");
      const pid = await backendPid(first);
      await first.query({ name: "act", text: "select audit.act_as($1, $2)", values: [4242, "s-1"] });
      expect(await changeAndRead(first, `proven ${leaves}`)).toEqual([
        { ...NOBODY, user_id: 4242, session_id: "s-1", context: TRIGGER },
      ]);
      if (leaves) await opened.splice(opened.indexOf(first), 1)[0]?.end();

      const second = await nextClientOn(pid);
      expect(await changeAndRead(second, `after it ${leaves}`)).toEqual([{ ...NOBODY, context: TRIGGER }]);
    }
  });

  test("don't share one whose proof the first kept for the session, and the second can still prove its own", async () => {
    const first = await client();
    await first.query("begin");
    const pid = await backendPid(first);
    await first.query("select audit.act_as(4242, 's-1')");
    await first.query(`select set_config(name, current_setting(name), false)
      from unnest(array['app.user_id', 'app.session_id', 'app.identity_seal']) as name`);
    await first.query("commit");

    const second = await nextClientOn(pid);
    expect((await second.query("show app.user_id")).rows).toEqual([{ "app.user_id": "4242" }]);
    expect(await changeAndRead(second, "left with its seal")).toEqual([
      { ...NOBODY, context: { ...TRIGGER, unproven_identity: true } },
    ]);
    const third = await nextClientOn(pid);
    await third.query("select audit.act_as(7)");
    expect(await changeAndRead(third, "proven by itself")).toEqual([{ ...NOBODY, user_id: 7, context: TRIGGER }]);

    const last = await nextClientOn(pid);
    for (const name of ["user_id", "session_id", "identity_seal"]) await last.query(`reset app.${name}`);
    await last.query("commit");
  });

  test("don't lend one beyond a statement of its own without a transaction", async () => {
    const first = await client();
    const { rows } = await first.query("select pg_backend_pid() as pid, audit.act_as(4242)");
    const second = await nextClientOn(rows[0].pid);
    expect(await changeAndRead(second, "after a statement")).toEqual([{ ...NOBODY, context: TRIGGER }]);
  });
});

describe("a dump of the logs", () => {
  const COPY = `audit_copy_${process.pid}`;
  const FILE = `/dev/shm/${COPY}`;
  const ON = "-h /run/postgresql -U postgres";
  const LOGS = ["audit.audit_log", "audit.security_metrics", "audit.security_violations"];

  /** What is in the logs, dates and stamps included. */
  const contents = async (database?: string): Promise<unknown> =>
    asSuperuser(async (superuser) => {
      await superuser.query("set timezone = 'UTC'");
      const all: unknown[] = [];
      for (const log of LOGS) {
        all.push(
          (await superuser.query(`select md5(string_agg(row::text, ' ' order by id)), count(*) from ${log} as row`))
            .rows,
        );
      }
      return all;
    }, database);

  async function inContainer(line: string): Promise<void> {
    const { exitCode, stderr } = await shell("postgres", line);
    expect(stderr).toBe("");
    expect(exitCode).toBe(0);
  }

  test("comes back with dates and roles as they were, whole or into tables that are there", async () => {
    const { database } = connectionFor(inject("stack").outputs, "app_user", "direct");
    await asSuperuser(async (superuser) => {
      await superuser.query(`insert into audit.security_metrics (metric_name, metric_type, metric_value, recorded_at, recorded_by)
        values ('dump', 'counter', 1, '2021-03-04 05:06:07Z', 'app_user')`);
      await superuser.query(`insert into audit.audit_log (table_name, operation, transaction_id, security_context, created_at)
        values ('users', 'UPDATE', 4711, '{"db_role": "app_user", "origin": "trigger"}', '2021-03-04 05:06:07Z')`);
    });
    const before = await contents();
    try {
      await asSuperuser((superuser) => superuser.query(`create database ${COPY} template template0`));
      await inContainer(`pg_dump ${ON} -Fc -d ${database} > ${FILE} && pg_restore ${ON} -d ${COPY} ${FILE}`);
      expect(await contents(COPY)).toEqual(before);

      await asSuperuser((superuser) => superuser.query(`truncate ${LOGS.join(", ")}`), COPY);
      const tables = LOGS.map((log) => `-t '${log}' -t '${log.replace("audit.", "partitions.")}_*'`).join(" ");
      await inContainer(
        `pg_dump ${ON} -Fc -a ${tables} -d ${database} > ${FILE} && pg_restore ${ON} --role=ai_workflow_owner -d ${COPY} ${FILE}`,
      );
      // The truncation of the violations is itself in the trail of the copy.
      await asSuperuser(
        (superuser) =>
          superuser.query(
            "delete from audit.audit_log where operation = 'TRUNCATE' and created_at > now() - interval '1 hour'",
          ),
        COPY,
      );
      expect(await contents(COPY)).toEqual(before);
    } finally {
      await inContainer(`rm -f ${FILE}`);
      await asSuperuser((superuser) => superuser.query(`drop database if exists ${COPY} with (force)`));
      await asSuperuser(async (superuser) => {
        await superuser.query("delete from audit.security_metrics where metric_name = 'dump'");
        await superuser.query("delete from audit.audit_log where transaction_id = 4711");
      });
    }
  });
});
