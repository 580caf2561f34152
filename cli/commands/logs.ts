import { SERVICES, stackLogs } from "../../stack/logs.ts";
import { flag, oneOf, option, optionError, stackArguments } from "../arguments.ts";
import { command } from "../command.ts";

export const examples = [
  "aiwdb logs --stack prod --since 10m",
  "aiwdb logs --service postgres --tail 100 --follow",
  "aiwdb logs --service postgres --since 2026-11-28T14:00Z | pgbadger --format stderr -",
];

export default command({
  args: {
    ...stackArguments,
    service: option("SERVICE", `Only one of ${SERVICES.join(", ")}; its lines as it wrote them`),
    since: option("TIME", "Only what was written since: 30s, 10m, 2h or 1d ago, or a time such as 2026-11-28T14:00Z"),
    tail: option("N", "Only the last N lines of each service"),
    json: flag("Print an object for each line as JSON on stdout"),
    follow: { ...flag("Go on with what is written from now on, until Ctrl-C"), alias: "f" },
  },
  async run({ args, output }) {
    const services = args.service === undefined ? SERVICES : [oneOf("service", args.service, SERVICES)];
    const width = Math.max(...services.map((service) => service.length));
    const lines = stackLogs({
      stack: args.stack,
      services,
      since: parseSince(args.since, new Date()),
      tail: parseTail(args.tail),
      follow: args.follow,
      warn: output.warn,
    });
    // One service's lines stay as they are, for programs that read its log.
    const prefix = (service: string) => (services.length === 1 ? "" : `${service.padEnd(width)} | `);
    await output.lines(lines, ({ service, text }) => `${prefix(service)}${text}`);
  },
});

const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

function parseSince(text: string | undefined, now: Date): Date | undefined {
  if (text === undefined) return undefined;
  const [, count, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  if (count !== undefined) return new Date(now.getTime() - Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS]);
  const time = /^\d{4}-\d\d-\d\d/.test(text) ? new Date(text) : new Date(Number.NaN);
  if (!Number.isNaN(time.getTime())) return time;
  const problem = `${JSON.stringify(text)} is neither a time such as 2026-11-28T14:00Z nor how long ago, such as 10m`;
  throw optionError("Since when?", "--since", problem);
}

function parseTail(text: string | undefined): number | undefined {
  if (text === undefined || /^\d{1,9}$/.test(text)) return text === undefined ? undefined : Number(text);
  throw optionError("How many lines?", "--tail", `${JSON.stringify(text)} is no whole number`);
}
