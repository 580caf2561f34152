import { waitingText } from "../../database/retention.ts";
import type { StackStatus } from "./status.ts";

type Row = [label: string, text: string];

/** A status for people: a line for each thing that the command looked at. */
export function statusText(status: StackStatus): string {
  const rows: Row[] = [
    ["stack", `${status.stack}: ${{ healthy: "healthy", unhealthy: "NOT HEALTHY", unknown: "UNKNOWN" }[status.state]}`],
    ...status.containers.map(({ name, state, health }): Row => [
      "container",
      `${name}  ${state}${health === "none" ? "" : `, ${health}`}`,
    ]),
    ...status.connections.map(({ mode, role, address, tls, error, serverConnections }): Row => [
      mode,
      `${address}  ${role}  ${tls ?? `FAILED: ${error ?? "no TLS"}`}${serverConnections === undefined ? "" : `  ${serverConnections} server connections`}`,
    ]),
    ...(status.pools === "unknown" ? [] : status.pools).map((pool): Row => [
      "pool",
      `${pool.database} ${pool.role}: clients ${pool.clientsActive} active, ${pool.clientsWaiting} waiting; servers ${pool.serversActive} active, ${pool.serversIdle} idle`,
    ]),
    ...status.obstacles.map(({ subject, problem }): Row => ["obstacle", `${subject} ${problem}`]),
    ...status.drift.map(({ server, name, scope, expected, actual }): Row => [
      "setting",
      `${server} ${name}${scope === undefined ? "" : ` of ${scope}`} is "${actual}", must be "${expected}": changed by hand; see docs/operations.md`,
    ]),
    ...migrationRows(status),
    ...retentionRows(status),
    ...status.certificates.map(({ name, daysLeft }): Row => ["certificate", `${name}: ${daysLeft} days left`]),
    ...status.unknown.map(({ subject, problem }): Row => ["unknown", `${subject}: ${problem}`]),
  ];
  const width = Math.max(...rows.map(([label]) => label.length));
  return rows.map(([label, text]) => `${label.padEnd(width)}  ${text}`).join("\n");
}

function migrationRows({ migrations }: StackStatus): Row[] {
  if (migrations === "unknown") return [];
  return [
    ...migrations.phases.map(({ phase, name, applied, total }): Row => [
      `phase ${phase}`,
      `${name}: ${applied} of ${total} migrations${applied === total ? "" : " applied"}`,
    ]),
    ["pending", migrations.pending.length === 0 ? "none" : migrations.pending.join(", ")],
  ];
}

function retentionRows({ policiesWaiting, stack }: StackStatus): Row[] {
  if (typeof policiesWaiting !== "number" || policiesWaiting === 0) return [];
  return [["retention", waitingText(policiesWaiting, stack)]];
}
