import { defineCommand } from "citty";
import type { Client } from "pg";
import { StateError, UsageError } from "../../base/errors.ts";
import { stackArguments } from "../arguments.ts";
import { createOutput, type Output } from "../../base/output.ts";
import { asOwner } from "../../stack/connect.ts";
import { explainFailure, readPolicies, type RetentionPolicy, WAITING } from "../../database/retention.ts";

export const examples = [
  "aiwdb retention list",
  "aiwdb retention list --all --json",
  "aiwdb retention approve --policy 0f8fad5b-d9cb-469f-a165-70867728950e       # says what it would do",
  "aiwdb retention approve --policy 0f8fad5b-d9cb-469f-a165-70867728950e --digest 3f9c2a11b0e4d7c85d6e0f9b8a7c6d5e4f3a2b1c --yes",
  "aiwdb retention withdraw --policy 0f8fad5b-d9cb-469f-a165-70867728950e --yes",
];

const policy = { type: "string", required: true, description: "Id of the policy", valueHint: "UUID" } as const;
const yes = { type: "boolean", default: false, description: "Really do it" } as const;

function policyId(text: string): string {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return text.toLowerCase();
  throw new UsageError("Which policy?", [{ subject: "--policy", problem: `${JSON.stringify(text)} is no UUID` }]);
}

function explained<T>(args: { stack: string }, output: Output, use: (client: Client) => Promise<T>): Promise<T> {
  return asOwner(args, output, (client) => use(client).catch((error: unknown) => explainFailure(error, args.stack)));
}

async function readPolicy(client: Client, id: string, stack: string): Promise<RetentionPolicy> {
  const [found] = (await readPolicies(client, { id })).policies;
  if (found) return found;
  throw new StateError("There is no such policy; nothing has been changed.", [
    {
      subject: id,
      problem: "is the id of no retention policy",
      remedy: `See \`aiwdb retention list --all --stack ${stack}\`.`,
    },
  ]);
}

const list = defineCommand({
  meta: { name: "list", description: "Policies that wait for approval, with what they would do" },
  args: {
    ...stackArguments,
    all: { type: "boolean", default: false, description: "Also those that are carried out or switched off" },
  },
  async run({ args }) {
    const output = createOutput({ json: args.json });
    const { policies, total } = await explained(args, output, (client) =>
      readPolicies(client, args.all ? {} : { states: WAITING }),
    );
    output.json({ policies, total });
    if (policies.length === 0) output.text(args.all ? "No policies." : "No policy waits for approval.");
    for (const each of policies) output.text(describe(each));
    if (policies.length < total) output.text(`These are the first ${policies.length} of ${total} policies.`);
  },
});

const approve = defineCommand({
  meta: {
    name: "approve",
    description: "Let maintenance carry a policy out as it is now; without --yes, say what it would do",
  },
  args: {
    ...stackArguments,
    policy,
    digest: {
      type: "string",
      description: "What `list` showed; needed with --yes, and refused if the policy has changed since",
      valueHint: "HEX",
    },
    yes,
  },
  async run({ args }) {
    const output = createOutput({ json: args.json });
    const id = policyId(args.policy);
    const approved = await explained(args, output, async (client) => {
      const found = await readPolicy(client, id, args.stack);
      if (!args.yes || args.digest === undefined) refuse(`let maintenance ${found.action}`, found, args);
      await client.query("select maintenance.approve_retention($1, $2)", [id, args.digest]);
      return readPolicy(client, id, args.stack);
    });
    output.json(approved);
    output.text(describe(approved));
  },
});

const withdraw = defineCommand({
  meta: { name: "withdraw", description: "Take an approval back: the policy stays, and waits" },
  args: { ...stackArguments, policy, yes },
  async run({ args }) {
    const output = createOutput({ json: args.json });
    const id = policyId(args.policy);
    await explained(args, output, async (client) => {
      const found = await readPolicy(client, id, args.stack);
      if (!args.yes) {
        throw new UsageError(`This would no longer ${found.action}; nothing has been changed.`, [
          { subject: "--yes", problem: "is missing", remedy: "Repeat the command with --yes." },
        ]);
      }
      await client.query("select maintenance.withdraw_retention($1)", [id]);
    });
    output.json({ policyId: id, withdrawn: true });
    output.text(`${id}: withdrawn`);
  },
});

function refuse(
  what: string,
  { policyId: id, digest, problems }: RetentionPolicy,
  { yes: confirmed, stack }: { yes: boolean; stack: string },
): never {
  throw new UsageError(`This would ${what}; nothing has been changed.`, [
    ...problems.map((problem) => ({ subject: id, problem })),
    {
      subject: confirmed ? "--digest" : "--yes",
      problem: "is missing",
      remedy: `If that is wanted: aiwdb retention approve --policy ${id} --digest ${digest} --yes --stack ${stack}`,
    },
  ]);
}

function describe({ policyId: id, state, action, digest, problems, approvedAt, approvedBy }: RetentionPolicy): string {
  return [
    `${state.padEnd(8)}  ${id}  ${action}`,
    ...(approvedAt === null ? [] : [`          approved ${approvedAt.toISOString()} by ${approvedBy}`]),
    ...(state === "gone" ? ["          its row is not there any more; `withdraw` forgets it"] : []),
    ...problems.map((problem) => `          can't be approved: ${problem}`),
    ...(WAITING.includes(state) && problems.length === 0 ? [`          digest ${digest}`] : []),
  ].join("\n");
}

export default defineCommand({
  subCommands: { list, approve, withdraw },
});
