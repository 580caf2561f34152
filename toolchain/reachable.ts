import { request } from "node:http";
import { request as secureRequest } from "node:https";
import { join } from "node:path";
import { folders } from "../base/paths.ts";
import { readJsonIfWhole, replaceFile } from "../base/text-file.ts";

/** All hosts that set-up may download from, except the package registries. They are probed together. */
const HOSTS = {
  /** Pulumi's installer and releases. */
  pulumi: "https://get.pulumi.com/",
  /** Releases of the provider plugins. */
  plugins: "https://api.github.com/",
  /** Official images. */
  images: "https://registry-1.docker.io/v2/",
} as const;

export type DownloadHost = keyof typeof HOSTS;
export type Reachability = Readonly<Record<DownloadHost, boolean>>;

/** All probes run at the same time, and once. An unreachable host may cost 5 s in all, so this stays below. */
const PROBE_TIMEOUT_MS = 4_000;
const REMEMBER_MS = 10 * 60_000;

/**
 * The proxy through which an address is downloaded. npm, Go, Pulumi and the engine all read these variables.
 *
 * @see https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config
 */
export function proxyFor(url: URL, env: NodeJS.ProcessEnv = process.env): URL | undefined {
  const read = (name: string) => env[name] || env[name.toLowerCase()];
  const proxy = (url.protocol === "https:" ? read("HTTPS_PROXY") : read("HTTP_PROXY")) || read("ALL_PROXY");
  const direct = (read("NO_PROXY") ?? "").split(",").map((entry) => entry.trim().replace(/^\*?\./, ""));
  const isDirect = (entry: string) =>
    entry === "*" ||
    (entry !== "" && (url.hostname === entry || url.host === entry || url.hostname.endsWith(`.${entry}`)));
  if (!proxy || direct.some(isDirect)) return undefined;
  return URL.parse(proxy.includes("://") ? proxy : `http://${proxy}`) ?? undefined;
}

/**
 * Whether the proxy connects to the address. Asked by a request of our own, since `fetch` knows no proxies before Node
 * 24.
 */
function letsThrough(proxy: URL, url: URL, timeoutMs: number): Promise<boolean> {
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  const user = decodeURIComponent(proxy.username);
  const credentials = Buffer.from(`${user}:${decodeURIComponent(proxy.password)}`).toString("base64");
  const secure = proxy.protocol === "https:";
  return new Promise((resolve) => {
    const asked = (secure ? secureRequest : request)({
      host: proxy.hostname,
      port: proxy.port || (secure ? "443" : "80"),
      method: "CONNECT",
      path: `${url.hostname}:${port}`,
      headers: user === "" ? {} : { "Proxy-Authorization": `Basic ${credentials}` },
      signal: AbortSignal.timeout(timeoutMs),
    });
    asked.on("connect", ({ statusCode }, socket) => {
      socket.destroy();
      resolve(statusCode === 200);
    });
    asked.on("response", () => asked.destroy()); // the proxy answers by itself
    asked.on("close", () => resolve(false));
    asked.on("error", () => {}); // "close" follows
    asked.end();
  });
}

/** Whether anything answers HTTP at the address within the time, whatever the status. */
async function answers(url: string, timeoutMs: number, env?: NodeJS.ProcessEnv): Promise<boolean> {
  const proxy = proxyFor(new URL(url), env);
  if (proxy !== undefined) return await letsThrough(proxy, new URL(url), timeoutMs);
  try {
    const response = await fetch(url, { method: "HEAD", redirect: "manual", signal: AbortSignal.timeout(timeoutMs) });
    await response.body?.cancel();
    return true;
  } catch {
    return false; // whatever failed, nothing can be downloaded from there
  }
}

export interface ProbeOptions {
  readonly hosts?: Readonly<Record<DownloadHost, string>>;
  readonly timeoutMs?: number;
  /** Where answers are kept for ten minutes. */
  readonly file?: string;
  /** Where the proxies stand. */
  readonly env?: NodeJS.ProcessEnv;
}

function remembered(file: string): Reachability | undefined {
  const { time = 0, hosts } = readJsonIfWhole<{ time: number; hosts: Reachability }>(file) ?? {};
  const age = Date.now() - time;
  return age >= 0 && age < REMEMBER_MS ? hosts : undefined;
}

/** Probes every host at the same time, or takes the answers of the last ten minutes. */
export async function probe({
  hosts = HOSTS,
  timeoutMs = PROBE_TIMEOUT_MS,
  file = join(folders().cache, "reachable.json"),
  env,
}: ProbeOptions = {}): Promise<Reachability> {
  const known = remembered(file);
  if (known !== undefined) return known;
  const probes = Object.entries(hosts).map(async ([name, url]) => [name, await answers(url, timeoutMs, env)] as const);
  const reachability = Object.fromEntries(await Promise.all(probes)) as Reachability;
  replaceFile(file, JSON.stringify({ time: Date.now(), hosts: reachability }));
  return reachability;
}

let probed: Promise<Reachability> | undefined;

/** Whether downloads from the host can be tried. Costs at most 4 s per command, for all hosts together. */
export async function reachable(host: DownloadHost): Promise<boolean> {
  probed ??= probe();
  return (await probed)[host];
}
