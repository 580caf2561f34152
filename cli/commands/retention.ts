import { defineCommand } from "citty";
import type { Client } from "pg";
import { StateError, UsageError } from "../../base/errors.ts";
import type { Output } from "../../base/output.ts";
import { flag, option, requireUuid, stackArguments } from "../arguments.ts";
import { command } from "../command.ts";
import { asOwner } from "../../stack/connect.ts";
import { explainFailure, readPolicies, type RetentionPolicy, WAITING } from "../../database/retention.ts";

export const examples = [
  "aiwdb retention list",
  "aiwdb retention list --all --json",
  "aiwdb retention approve --policy 0f8fad5b-d9cb-469f-a165-70867728950e       # says what it would do",
  "aiwdb retention approve --policy 0f8fad5b-d9cb-469f-a165-70867728950e --digest 3f9c2a11b0e4d7c85d6e0f9b8a7c6d5e4f3a2b1c --yes",
  "aiwdb retention withdraw --policy 0f8fad5b-d9cb-469f-a165-70867728950e --yes",
];

const policy = { ...option("UUID", "Id of the policy"), required: true } as const;
const yes = flag("Really do it");

function policyId(text: string): string {
  requireUuid("Which policy?", "--policy", text);
  return text.toLowerCase();
}

function explained<T>(args: { stack: string }, output: Output, use: (client: Client) => Promise<T>): Promise<T> {
  return asOwner(args, output, (client) => use(client).catch((error: unknown) => explainFailure(error, args.stack)));
}

async function readPolicy(client: Client, id: string, stack: string): Promise<RetentionPolicy> {
  const [found] = (await readPolicies(client, { id })).policies;
  if (found) return found;
  const remedy = `See \`aiwdb retention list --all --stack ${stack}\`.`;
  throw new StateError("There is no such policy; nothing has been changed.", [
    { subject: id, problem: "is the id of no retention policy", remedy },
  ]);
}

const list = command({
  meta: { name: "list", description: "Policies that wait for approval, with what they would do" },
  args: {
    ...stackArguments,
    all: flag("Also those that are carried out or switched off"),
  },
  async run({ args, output }) {
    const { policies, total } = await explained(args, output, (client) =>
      readPolicies(client, args.all ? {} : { states: WAITING }),
    );
    output.json({ policies, total });
    if (policies.length === 0) output.text(args.all ? "No policies." : "No policy waits for approval.");
    for (const each of policies) output.text(describe(each));
    if (policies.length < total) output.text(`These are the first ${policies.length} of ${total} policies.`);
  },
});

const approve = command({
  meta: {
    name: "approve",
    description: "Let maintenance carry a policy out as it is now; without --yes, say what it would do",
  },
  args: {
    ...stackArguments,
    policy,
    digest: option("HEX", "What `list` showed; needed with --yes, and refused if the policy has changed since"),
    yes,
  },
  async run({ args, output }) {
    const id = policyId(args.policy);
    const approved = await explained(args, output, async (client) => {
      const found = await readPolicy(client, id, args.stack);
      if (!args.yes) refuse(found, "--yes", args.stack);
      if (args.digest === undefined) refuse(found, "--digest", args.stack);
      await client.query("select maintenance.approve_retention($1, $2)", [id, args.digest]);
      return readPolicy(client, id, args.stack);
    });
    output.json(approved);
    output.text(describe(approved));
  },
});

const withdraw = command({
  meta: { name: "withdraw", description: "Take an approval back: the policy stays, and waits" },
  args: { ...stackArguments, policy, yes },
  async run({ args, output }) {
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

/** Refuses to approve a policy, and says what would approve it. */
function refuse({ policyId: id, action, digest, problems }: RetentionPolicy, missing: string, stack: string): never {
  const remedy = `If that is wanted: aiwdb retention approve --policy ${id} --digest ${digest} --yes --stack ${stack}`;
  throw new UsageError(`This would let maintenance ${action}; nothing has been changed.`, [
    ...problems.map((problem) => ({ subject: id, problem })),
    { subject: missing, problem: "is missing", remedy },
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

export default defineCommand({ subCommands: { list, approve, withdraw } });
