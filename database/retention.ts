import type { Client } from "pg";
import { StateError } from "../base/errors.ts";

/** Whether maintenance carries a policy out: only `approved` ones. */
export type RetentionState = "approved" | "proposed" | "changed" | "off" | "gone";

/** States of policies that are not carried out until the owner has looked at them. */
export const WAITING: readonly RetentionState[] = ["proposed", "changed", "gone"];

/** A row of `data_retention_policies`, or what is left of one, and what the owner said to it. */
export interface RetentionPolicy {
  readonly policyId: string;
  readonly state: RetentionState;
  /** What it does, in words. */
  readonly action: string;
  readonly digest: string;
  /** Why it can't be approved. */
  readonly problems: readonly string[];
  readonly lastRunAt: Date | null;
  readonly approvedAt: Date | null;
  readonly approvedBy: string | null;
}

interface Row extends Omit<RetentionPolicy, "action"> {
  readonly table: string;
  readonly days: number;
  readonly type: "ARCHIVE" | "DELETE" | "ANONYMIZE";
  readonly column: string | null;
  /**
   * Names and values, each value as JSON that the database has written, so that it is the one that the digest is of.
   */
  readonly match: readonly [string, string][];
  readonly set: readonly [string, string][];
}

/** The application may make as many rows as it likes; nobody reads more than this. */
const MOST = 1000;

/** The application may lock the table for as long as it likes. */
const limitWait = (client: Client): Promise<unknown> => client.query("set lock_timeout = '5s'");

const pairsOf = (part: "match" | "set") => `(
  select coalesce(jsonb_agg(jsonb_build_array(key, value::text)), '[]')
  from jsonb_each(case when jsonb_typeof(conditions -> '${part}') = 'object' then conditions -> '${part}' end)
) as ${part}`;

/** Policies that wait first, the first thousand of `total`. */
export async function readPolicies(
  client: Client,
  { id, states }: { readonly id?: string; readonly states?: readonly RetentionState[] },
): Promise<{ readonly policies: RetentionPolicy[]; readonly total: number }> {
  await limitWait(client);
  const asked = "($1::uuid is null or policy_id = $1) and ($2::text[] is null or state = any ($2))";
  const values = [id ?? null, states ?? null];
  const { rows } = await client.query<Row>(
    `select
       policy_id as "policyId", state, table_name as "table", retention_period_days as days, policy_type::text as type,
       conditions ->> 'column' as "column", ${pairsOf("match")}, ${pairsOf("set")},
       last_run_at as "lastRunAt", approved_at as "approvedAt", approved_by as "approvedBy",
       maintenance.retention_digest(table_name, retention_period_days, policy_type, conditions) as digest,
       case when state in ('proposed', 'changed', 'approved') then array(
         select problem from maintenance.retention_problems(table_name, retention_period_days, policy_type, conditions, true)
       ) else '{}' end as problems
     from maintenance.retention_status
     where ${asked}
     order by state = any ($3) desc, table_name, policy_id limit ${MOST}`,
    [...values, WAITING],
  );
  const counted = await client.query<{ total: string }>(
    `select count(*) as total from maintenance.retention_status where ${asked}`,
    values,
  );
  return {
    policies: rows.map(toPolicy),
    total: Number(counted.rows[0]?.total),
  };
}

/** How many policies wait; null before the migrations of approvals. */
export async function countWaiting(client: Client): Promise<number | null> {
  const { rows: found } = await client.query(
    "select to_regclass('maintenance.retention_status') is not null as present",
  );
  if (!found[0].present) return null;
  await limitWait(client);
  const { rows } = await client.query<{ waiting: string }>(
    "select count(*) as waiting from maintenance.retention_status where state = any ($1)",
    [WAITING],
  );
  return Number(rows[0]?.waiting ?? 0);
}

/** One line on those that wait, with the command that lists them on their own stack. */
export function waitingText(count: number, stack: string): string {
  const many = count === 1 ? "1 policy waits for approval and is" : `${count} policies wait for approval and are`;
  return `${many} not carried out; see \`aiwdb retention list --stack ${stack}\``;
}

/** Names and values come from the application, so that they stand in quotes. */
function toPolicy({ table, days, type, column, match, set, ...row }: Row): RetentionPolicy {
  const list = (part: readonly [string, string][], link: string, toNull: string) =>
    part.map(([name, value]) => `${JSON.stringify(name)} ${value === "null" ? toNull : `= ${value}`}`).join(link);
  const restriction = list(match, " and ", "is null");
  const action = [
    type === "ANONYMIZE" ? `set ${list(set, ", ", "= null") || "nothing"} in` : `${type.toLowerCase()} rows of`,
    JSON.stringify(table),
    `whose ${JSON.stringify(column)} is more than ${days} ${days === 1 ? "day" : "days"} ago`,
    ...(restriction === "" ? [] : [`and ${restriction}`]),
  ];
  return { ...row, action: action.join(" ") };
}

/** What the functions raise themselves, in words made for people; 55P03 is a lock. */
const FOR_PEOPLE = new Set(["P0002", "55000", "55P03"]);

/** Turns what the database refused into an error for people. */
export function explainFailure(error: unknown, stack: string): never {
  const { code, message, hint } = error as { code?: string; message: string; hint?: string };
  if (code === "42P01" || code === "42883") {
    throw new StateError("The stack has no approval of retention policies yet.", [
      {
        subject: "rolloutPhase",
        problem: "its functions come with the last migrations of phase 4",
        remedy: `Run \`aiwdb up --stack ${stack}\`, with rolloutPhase 4.`,
      },
    ]);
  }
  if (code === undefined || !FOR_PEOPLE.has(code)) throw error;
  throw new StateError(message, hint ? [{ subject: "what to do", problem: hint }] : []);
}
