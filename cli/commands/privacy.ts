import { defineCommand } from "citty";
import type { Client } from "pg";
import { StateError, UsageError } from "../../base/errors.ts";
import { stackArguments } from "../arguments.ts";
import { createOutput, type Output } from "../../base/output.ts";
import { asOwner } from "../../stack/connect.ts";

export const examples = [
  "aiwdb privacy export --user 42 > user-42.json",
  "aiwdb privacy erase --user 42 --yes",
  "aiwdb privacy pseudonymise --user 42 --yes",
  "aiwdb privacy fulfil --request 0f8fad5b-d9cb-469f-a165-70867728950e               # says what it would do",
  "aiwdb privacy fulfil --request 0f8fad5b-d9cb-469f-a165-70867728950e --user 42 --yes",
];

const user = { type: "string", required: true, description: "Id of the user", valueHint: "ID" } as const;
const yes = { type: "boolean", default: false, description: "Really do it: it cannot be undone" } as const;

/** What the functions raise themselves, in words made for people; 55006 is a legal hold. */
const FOR_PEOPLE = new Set(["P0001", "P0002", "0A000", "55000", "55006"]);

/** The application may lock a row for as long as it likes. */
const LOCK_TIMEOUT = "5s";
const LOCK_NOT_AVAILABLE = "55P03";
const TOO_LARGE = "54000";

/** Does something as the owner; what the functions refuse becomes an error for people. */
function explained<T>(args: { stack: string }, output: Output, use: (client: Client) => Promise<T>): Promise<T> {
  return asOwner(args, output, async (client) => {
    try {
      await client.query(`set lock_timeout = '${LOCK_TIMEOUT}'`);
      return await use(client);
    } catch (error) {
      const { code, message, detail, hint } = error as {
        code?: string;
        message: string;
        detail?: string;
        hint?: string;
      };
      if (code === LOCK_NOT_AVAILABLE) {
        throw new StateError("Somebody else has locked a row or a table that this needs; nothing was changed:", [
          {
            subject: "lock",
            problem: message,
            remedy: "Run the command again later; `select * from pg_locks where not granted` shows who waits for whom.",
          },
        ]);
      }
      if (code === TOO_LARGE) {
        throw new StateError("The user's data is more than PostgreSQL holds in one value; nothing was changed:", [
          {
            subject: "size",
            problem: `${message}; that is 256 MiB for the rows of a table as JSON`,
            remedy:
              `Export it table by table with \`aiwdb psql --stack ${args.stack} --role ai_workflow_owner\`; ` +
              "`select table_name, filter from privacy.user_data` says which rows are the user's.",
          },
        ]);
      }
      if (code === undefined || !FOR_PEOPLE.has(code)) throw error;
      throw new StateError(message, [
        ...(detail ? [{ subject: "why", problem: detail }] : []),
        ...(hint ? [{ subject: "what to do", problem: hint }] : []),
      ]);
    }
  });
}

/** Calls one of the functions in schema privacy. */
function call(args: { stack: string }, output: Output, sql: string, values: readonly unknown[]): Promise<unknown> {
  return explained(args, output, async (client) => (await client.query(sql, [...values])).rows[0]?.result);
}

function userId(text: string): number {
  if (!/^\d{1,9}$/.test(text))
    throw new UsageError("Which user?", [{ subject: "--user", problem: `${JSON.stringify(text)} is no id of a user` }]);
  return Number(text);
}

function refuseUnless(
  confirmed: boolean,
  what: string,
  remedy = "Export first if the data may be wanted, then repeat the command with --yes.",
): void {
  if (confirmed) return;
  throw new UsageError(`This would ${what}; nothing has been changed.`, [
    { subject: "--yes", problem: "is missing", remedy },
  ]);
}

interface Removed extends Record<string, unknown> {
  /** Keys of what was left, per table: rows too large to be searched for names, conversations that others claim too. */
  readonly unsearched: Readonly<Record<string, readonly string[]>>;
}

/** The most keys of a table that the database tells. */
const MOST_KEYS = 1000;
const SHOWN_KEYS = 20;

/** @throws StateError when something is left that may name the user, of which only a person can say what is to become of it */
function refuseUnsearched(removed: Removed): void {
  const left = Object.entries(removed.unsearched);
  if (left.length === 0) return;
  throw new StateError(
    "The user's data is gone, but for what could not be decided: rows that are too large to be searched for names, conversations in which others have rows.",
    left.map(([subject, keys]) => ({
      subject,
      problem: `${keys.length < MOST_KEYS ? keys.length : `${MOST_KEYS} or more`}: ${keys.slice(0, SHOWN_KEYS).join("; ")}${keys.length > SHOWN_KEYS ? "; …" : ""}`,
      remedy: "Look at each, and delete it or take the user's names out: the database knows them no longer.",
    })),
    { result: removed },
  );
}

/**
 * JSON with a line for each key, table and row. `jsonb_pretty` writes a line for each bracket, so that a value which the
 * application nested deeply would grow to gigabytes.
 */
const inLines = (exported: string): string => `
  select E'{\\n' || string_agg(format('  %s: %s', to_json(part.key), case jsonb_typeof(part.value)
    when 'object' then (
      select coalesce(E'{\\n' || string_agg(format('    %s: %s', to_json(field.key), case jsonb_typeof(field.value)
        when 'array' then '[' || (
          select coalesce(string_agg(E'\\n      ' || element::text, ','), '') from jsonb_array_elements(field.value) as element
        ) || ']'
        else field.value::text
      end), E',\\n') || E'\\n  }', '{}') from jsonb_each(part.value) as field
    )
    else part.value::text
  end), E',\\n') || E'\\n}' as result
  from jsonb_each(${exported}) as part`;

const exportUser = defineCommand({
  meta: { name: "export", description: "Print everything the database holds about a user, as JSON" },
  args: { ...stackArguments, user },
  async run({ args }) {
    const output = createOutput({ json: true });
    output.jsonText((await call(args, output, inLines("privacy.export_user($1)"), [userId(args.user)])) as string);
  },
});

function removal(name: string, description: string, sql: string, what: string) {
  return defineCommand({
    meta: { name, description },
    args: { ...stackArguments, user, yes },
    async run({ args }) {
      const output = createOutput({ json: args.json });
      const id = userId(args.user);
      refuseUnless(args.yes, `${what} user ${id}`);
      const touched = (await call(args, output, sql, [id])) as Removed;
      refuseUnsearched(touched);
      output.json(touched);
      for (const [table, rows] of Object.entries(touched))
        output.text(`${table}: ${typeof rows === "object" ? JSON.stringify(rows) : String(rows)}`);
    },
  });
}

interface PrivacyRequest {
  readonly user_id: number;
  readonly request_type: string;
  readonly status: string;
  readonly verification_method: string | null;
}

/**
 * Carries a request out if it is what the caller says it is: its row is the application's, which may name any user in it, and
 * may change it until the last moment.
 */
async function fulfilRequest(
  client: Client,
  { request, user: named, yes: confirmed }: { request: string; user: string | undefined; yes: boolean },
): Promise<{ readonly result: string; readonly erased: boolean }> {
  const { rows } = await client.query<PrivacyRequest>(
    `select user_id, request_type, status, verification_method from public.privacy_requests where id = $1 for update`,
    [request],
  );
  const found = rows[0];
  if (found) {
    const erases = found.request_type === "DATA_DELETION";
    const method = found.verification_method;
    const identity = method === null ? "no check of identity noted" : `identity checked by ${JSON.stringify(method)}`;
    refuseUnless(
      confirmed,
      `carry out request ${request}: ${found.request_type} of user ${found.user_id}, ${found.status}, ${identity}`,
      erases
        ? "Export first if the data may be wanted, then repeat the command with --yes and --user, the person that asked as you know them."
        : "Repeat the command with --yes.",
    );
    if ((erases || named !== undefined) && named !== String(found.user_id)) {
      throw new UsageError(`Request ${request} is about user ${found.user_id}; nothing has been changed.`, [
        {
          subject: "--user",
          problem: named === undefined ? "is missing, and this would erase that user's data" : `names user ${named}`,
          remedy:
            "Name the user whom the person is that asked, as you know them; the request was written by the application.",
        },
      ]);
    }
  }
  const fulfilled = await client.query<{ result: string }>(inLines("privacy.fulfil_request($1)"), [request]);
  return { result: fulfilled.rows[0]?.result ?? "null", erased: found?.request_type === "DATA_DELETION" };
}

const fulfil = defineCommand({
  meta: { name: "fulfil", description: "Carry out a row of privacy_requests: export or deletion" },
  args: {
    ...stackArguments,
    request: { type: "string", required: true, description: "Id of the request", valueHint: "UUID" },
    user: { ...user, required: false, description: "Whom it has to be about; a deletion needs it" },
    yes,
  },
  async run({ args }) {
    const output = createOutput({ json: true });
    if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(args.request)) {
      throw new UsageError("Which request?", [
        { subject: "--request", problem: `${JSON.stringify(args.request)} is no UUID` },
      ]);
    }
    if (args.user !== undefined) userId(args.user);
    const { result, erased } = await explained(args, output, async (client) => {
      await client.query("begin");
      try {
        const fulfilled = await fulfilRequest(client, args);
        await client.query("commit");
        return fulfilled;
      } catch (error) {
        await client.query("rollback");
        throw error;
      }
    });
    if (erased) refuseUnsearched(JSON.parse(result) as Removed);
    output.jsonText(result);
  },
});

export default defineCommand({
  subCommands: {
    export: exportUser,
    erase: removal(
      "erase",
      "Delete what is about a user; logs that stay as proof are scrubbed",
      "select privacy.erase_user($1) as result",
      "erase the data of",
    ),
    pseudonymise: removal(
      "pseudonymise",
      "Take names, addresses and credentials away and keep what the user made",
      "select privacy.pseudonymise_user($1) as result",
      "pseudonymise",
    ),
    fulfil,
  },
});
