import { defineCommand } from "citty";
import type { Client, DatabaseError } from "pg";
import { StateError, UsageError } from "../../base/errors.ts";
import { createOutput, type Output } from "../../base/output.ts";
import { flag, option, optionError, requireUuid, stackArguments } from "../arguments.ts";
import { command } from "../command.ts";
import { asOwner } from "../../stack/connect.ts";

export const examples = [
  "aiwdb privacy export --user 42 > user-42.json",
  "aiwdb privacy erase --user 42 --yes",
  "aiwdb privacy pseudonymise --user 42 --yes",
  "aiwdb privacy fulfil --request 0f8fad5b-d9cb-469f-a165-70867728950e               # says what it would do",
  "aiwdb privacy fulfil --request 0f8fad5b-d9cb-469f-a165-70867728950e --user 42 --yes",
];

const user = { ...option("ID", "Id of the user"), required: true } as const;
const yes = flag("Really do it: it cannot be undone");

/** Codes of the errors that the functions raise themselves, in words for people; 55006 is a legal hold. */
const FOR_PEOPLE = new Set(["P0001", "P0002", "0A000", "55000", "55006"]);
/** https://www.postgresql.org/docs/16/errcodes-appendix.html */
const LOCK_NOT_AVAILABLE = "55P03";
const TOO_LARGE = "54000";

/** Does work as the owner. What the database refuses becomes an error for people. */
function explained<T>(args: { stack: string }, output: Output, work: (client: Client) => Promise<T>): Promise<T> {
  return asOwner(args, output, async (client) => {
    try {
      await client.query("set lock_timeout = '5s'"); // the application may lock a row for as long as it likes
      return await work(client);
    } catch (error) {
      throw explanationOf(error as Partial<DatabaseError> & Error, args.stack) ?? error;
    }
  });
}

/** Undefined for an error whose words are not for people. */
function explanationOf({ code = "", message, detail, hint }: Partial<DatabaseError> & Error, stack: string) {
  if (code === LOCK_NOT_AVAILABLE) {
    const remedy = "Run the command again later; `select * from pg_locks where not granted` shows who waits for whom.";
    return new StateError("Somebody else has locked a row or a table that this needs; nothing was changed:", [
      { subject: "lock", problem: message, remedy },
    ]);
  }
  if (code === TOO_LARGE) {
    const remedy =
      `Export it table by table with \`aiwdb psql --stack ${stack} --role ai_workflow_owner\`; ` +
      "`select table_name, filter from privacy.user_data` says which rows are the user's.";
    return new StateError("The user's data is more than PostgreSQL holds in one value; nothing was changed:", [
      { subject: "size", problem: `${message}; that is 256 MiB for the rows of a table as JSON`, remedy },
    ]);
  }
  if (!FOR_PEOPLE.has(code)) return undefined;
  return new StateError(message, [
    ...(detail ? [{ subject: "why", problem: detail }] : []),
    ...(hint ? [{ subject: "what to do", problem: hint }] : []),
  ]);
}

/** Calls one of the functions in schema privacy for a user. @returns its `result` */
function call(args: { stack: string }, output: Output, sql: string, id: number): Promise<unknown> {
  return explained(args, output, async (client) => (await client.query(sql, [id])).rows[0]?.result);
}

function userId(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw optionError("Which user?", "--user", `${JSON.stringify(text)} is no id of a user`);
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

/** What a function removed, by table. */
interface Removed extends Record<string, unknown> {
  /** Keys of what it left, by table: rows too large to be searched for names, conversations that others claim too. */
  readonly unsearched: Readonly<Record<string, readonly string[]>>;
}

/** The database names no more keys of a table than this. */
const MOST_KEYS = 1000;
const SHOWN_KEYS = 20;

/** @throws StateError when something is left that may name the user; only a person can decide about it */
function refuseUnsearched(removed: Removed): void {
  const left = Object.entries(removed.unsearched).map(([subject, keys]) => {
    const count = keys.length < MOST_KEYS ? keys.length : `${MOST_KEYS} or more`;
    const more = keys.length > SHOWN_KEYS ? "; …" : "";
    return {
      subject,
      problem: `${count}: ${keys.slice(0, SHOWN_KEYS).join("; ")}${more}`,
      remedy: "Look at each, and delete it or take the user's names out: the database knows them no longer.",
    };
  });
  if (left.length === 0) return;
  throw new StateError(
    "The user's data is gone, but for what could not be decided: rows that are too large to be searched for names, conversations in which others have rows.",
    left,
    { result: removed },
  );
}

/**
 * SQL that writes JSON with a line for each key, table and row. `jsonb_pretty` writes a line for each bracket, so that
 * a value which the application nested deeply would grow to gigabytes.
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

const exportUser = command({
  meta: { name: "export", description: "Print everything the database holds about a user, as JSON" },
  args: { ...stackArguments, user },
  async run({ args }) {
    const output = createOutput({ json: true });
    output.jsonText((await call(args, output, inLines("privacy.export_user($1)"), userId(args.user))) as string);
  },
});

function removal(name: string, description: string, sql: string, what: string) {
  return command({
    meta: { name, description },
    args: { ...stackArguments, user, yes },
    async run({ args, output }) {
      const id = userId(args.user);
      refuseUnless(args.yes, `${what} user ${id}`);
      const touched = (await call(args, output, sql, id)) as Removed;
      refuseUnsearched(touched);
      output.json(touched);
      for (const [table, rows] of Object.entries(touched))
        output.text(`${table}: ${typeof rows === "object" ? JSON.stringify(rows) : String(rows)}`);
    },
  });
}

/**
 * Carries a request out if it is what the caller says it is. Its row is the application's, which may name any user in
 * it and may change it until the last moment.
 *
 * @returns JSON, and whether the request was a deletion
 */
async function fulfilRequest(
  client: Client,
  { request, user: named, yes: confirmed }: { request: string; user?: string | undefined; yes: boolean },
) {
  const { rows } = await client.query(
    `select user_id, request_type, status, verification_method from public.privacy_requests where id = $1 for update`,
    [request],
  );
  const erases = rows[0]?.request_type === "DATA_DELETION";
  if (rows[0]) {
    const { user_id: id, request_type: type, status, verification_method: method } = rows[0];
    const identity = method === null ? "no check of identity noted" : `identity checked by ${JSON.stringify(method)}`;
    refuseUnless(
      confirmed,
      `carry out request ${request}: ${type} of user ${id}, ${status}, ${identity}`,
      erases
        ? "Export first if the data may be wanted, then repeat the command with --yes and --user, the person that asked as you know them."
        : "Repeat the command with --yes.",
    );
    if ((erases || named !== undefined) && named !== String(id)) {
      throw new UsageError(`Request ${request} is about user ${id}; nothing has been changed.`, [
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
  return { result: fulfilled.rows[0]?.result ?? "null", erases };
}

const fulfil = command({
  meta: { name: "fulfil", description: "Carry out a row of privacy_requests: export or deletion" },
  args: {
    ...stackArguments,
    request: { ...option("UUID", "Id of the request"), required: true },
    user: option("ID", "Whom it has to be about; a deletion needs it"),
    yes,
  },
  async run({ args }) {
    const output = createOutput({ json: true });
    requireUuid("Which request?", "--request", args.request);
    if (args.user !== undefined) userId(args.user);
    const { result, erases } = await explained(args, output, async (client) => {
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
    if (erases) refuseUnsearched(JSON.parse(result) as Removed);
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
