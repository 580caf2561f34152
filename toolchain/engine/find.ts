import { userInfo } from "node:os";
import { canInstallPackages, installPackages } from "../debian-packages.ts";
import { currentContext } from "./context.ts";
import {
  type Answer,
  askEngine,
  ENGINE_ANSWER_MS,
  type EngineAddress,
  engineFromEnv,
  isLocalEngine,
} from "./client.ts";
import { ToolError, type Problem } from "../../base/errors.ts";
import { findDockerd, isOurs, privateHost, recordedEngine, startPrivateEngine } from "./private.ts";
import { step, type Report, type Way } from "../../base/progress.ts";

/** The Docker Engine the stacks live in. */
export interface Engine extends EngineAddress {
  readonly version: string;
  readonly way: Way;
  /** How it was found, for people. */
  readonly origin: string;
  /** Whether set-up started it; only such a one is ever stopped. */
  readonly isPrivate: boolean;
}

interface Candidate {
  readonly address: EngineAddress;
  readonly origin: string;
  /** What to undo for another engine, where the user chose this one: no other may take its place. */
  readonly choice?: string;
}

export interface FindEngineOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Sockets that are tried when the user chose none. */
  readonly sockets?: readonly string[];
  readonly timeoutMs?: number;
  /** @default this machine */
  readonly starter?: Starter;
}

const PRIVATE = "private engine";
const SUMMARY = "No Docker Engine can be used.";
const INSTALL_REMEDY = "Install Docker Engine (https://docs.docker.com/engine/install/), start it, or set DOCKER_HOST.";

function defaultSockets(env: NodeJS.ProcessEnv): string[] {
  const runtime = env["XDG_RUNTIME_DIR"] || `/run/user/${userInfo().uid}`;
  const usual = ["/var/run/docker.sock", `${runtime}/docker.sock`];
  // Also one that another data folder's set-up started; only root may use it.
  return userInfo().uid === 0 ? [...usual, privateHost().slice("unix://".length)] : usual;
}

function candidates({ env = process.env, sockets = defaultSockets(env) }: FindEngineOptions): Candidate[] {
  const fromEnv = engineFromEnv(env);
  if (fromEnv !== undefined) return [{ address: fromEnv, origin: "DOCKER_HOST", choice: "unset DOCKER_HOST" }];
  const context = currentContext(env);
  if (context !== undefined) {
    const choice = "unset the context with `docker context use default`";
    return [{ address: context, origin: `docker context "${context.name}"`, choice }];
  }
  return sockets.map((path) => {
    const host = `unix://${path}`;
    return { address: { host }, origin: host === privateHost() ? PRIVATE : "default socket" };
  });
}

const nameOf = ({ address, origin, choice }: Candidate): string =>
  choice === undefined ? address.host : `${origin} (${address.host})`;

/** What is wrong with an engine that does not answer. Nothing is, where it is not there and nobody chose it. */
function problemOf(candidate: Candidate, answer: Answer, timeoutMs: number): Problem | undefined {
  const { choice } = candidate;
  const subject = nameOf(candidate);
  const other = choice === undefined ? "" : ` Or choose another engine: ${choice}.`;
  switch (answer.state) {
    case "answers":
      return undefined;
    case "absent":
      return choice === undefined
        ? undefined
        : { subject, problem: "nothing answers there", remedy: `Start that engine.${other}` };
    case "forbidden":
      return {
        subject,
        problem: `user ${userInfo().username} may not use it`,
        remedy:
          "Add the user to the group docker (`sudo usermod -aG docker $USER`, then log in again), or use rootless Docker.",
      };
    case "silent":
      return {
        subject,
        problem: `accepts connections but did not answer within ${timeoutMs / 1000} s`,
        remedy: `Restart that engine.${other}`,
      };
    case "failed":
      return { subject, problem: answer.message, remedy: `See whether \`docker version\` works.${other}` };
  }
}

/** Certificates name, and clients and checks reach, this machine: a stack on another one's engine would look dead. */
function refuseRemote(candidate: Candidate): void {
  if (isLocalEngine(candidate.address.host)) return;
  throw new ToolError(SUMMARY, {
    subject: nameOf(candidate),
    problem: "is on another machine, and the servers would be published there on 127.0.0.1, where nobody reaches them",
    remedy: `Run the command on that machine, or choose this one's engine: ${candidate.choice}.`,
  });
}

/** @returns the engine that answers, and what speaks against starting another, or explains why none was found */
async function search(options: FindEngineOptions): Promise<{ engine?: Engine; problems: Problem[] }> {
  const timeoutMs = options.timeoutMs ?? ENGINE_ANSWER_MS;
  const possible = candidates(options);
  possible.forEach(refuseRemote);
  const answers = await Promise.all(possible.map(({ address }) => askEngine(address, timeoutMs)));
  const recorded = recordedEngine();
  const own = recorded !== undefined && isOurs(recorded) ? recorded : undefined;
  const found = ({ address, origin }: Candidate, version: string): Engine => {
    return { ...address, version, way: "found", origin, isPrivate: address.host === own?.host };
  };
  const problems: Problem[] = [];
  for (const [index, candidate] of possible.entries()) {
    const answer = answers[index] as Answer;
    if (answer.state === "answers") return { engine: found(candidate, answer.version), problems: [] };
    const problem = problemOf(candidate, answer, timeoutMs);
    if (problem !== undefined) problems.push(problem);
    // A choice of the user's, or an engine that is there but ill, is not passed over in silence.
    if (candidate.choice !== undefined || answer.state === "silent") throw new ToolError(SUMMARY, problems);
  }
  if (own === undefined) return { problems };
  const answer = await askEngine(own, timeoutMs);
  if (answer.state !== "answers") return { problems };
  return { engine: found({ address: { host: own.host }, origin: PRIVATE }, answer.version), problems };
}

/**
 * The running engine: DOCKER_HOST, the docker context in use, the default sockets, the recorded private one; in this
 * order.
 *
 * @throws ToolError when the engine the user chose does not answer, or one is there but hangs
 */
export async function findEngine(options: FindEngineOptions = {}): Promise<Engine | undefined> {
  return (await search(options)).engine;
}

function obstacle(problem: string, remedy = INSTALL_REMEDY): Problem {
  return { subject: "Docker Engine", problem, remedy };
}

const THIS_MACHINE = {
  platform: process.platform,
  uid: userInfo().uid,
  hasDockerd: () => findDockerd() !== undefined,
  canInstall: canInstallPackages,
};

/** What decides whether an engine can be started here. */
export type Starter = Readonly<typeof THIS_MACHINE>;

/** Why no engine can be started on this machine, or undefined if one can. */
export function startObstacle({ platform, uid, hasDockerd, canInstall }: Starter = THIS_MACHINE): Problem | undefined {
  if (platform !== "linux") {
    return obstacle(
      "none is running",
      "Start Docker Desktop (https://docs.docker.com/desktop/) or another engine, or set DOCKER_HOST to its socket.",
    );
  }
  if (uid !== 0) return obstacle("none is running, and only root can start one");
  if (hasDockerd() || canInstall()) return undefined;
  return obstacle(
    "none is running, dockerd and iptables are not both installed, and only Debian's and Ubuntu's packages are known here",
  );
}

/**
 * An engine that answers: a running one, else a private one, for which Debian's docker.io is installed if need be.
 *
 * @throws ToolError with everything that was tried and what to do
 */
export async function ensureEngine(report: Report, options: FindEngineOptions = {}): Promise<Engine> {
  const { engine, problems } = await search(options);
  if (engine !== undefined) return engine;
  const reason = startObstacle(options.starter);
  if (reason !== undefined) throw new ToolError(SUMMARY, [...problems, reason]);

  let way: Way = "started";
  if (findDockerd() === undefined) {
    await step(report, "Docker Engine: installing docker.io and iptables", () =>
      installPackages("docker.io", "iptables"),
    );
    way = "installed";
    // Installing starts it where a service manager runs.
    const installed = await search(options);
    if (installed.engine !== undefined) return { ...installed.engine, way };
  }
  const dockerd = findDockerd();
  if (dockerd === undefined)
    throw new ToolError(SUMMARY, { subject: "docker.io", problem: "brought no dockerd", remedy: INSTALL_REMEDY });
  const host = await startPrivateEngine(dockerd, report);
  const answer = await askEngine({ host }, options.timeoutMs);
  const version = answer.state === "answers" ? answer.version : "unknown";
  return { host, version, way, origin: PRIVATE, isPrivate: true };
}
