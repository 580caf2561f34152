import type Docker from "dockerode";
import { certificateProblems, serialOf } from "../../../certs/verify.ts";
import { StateError } from "../../../base/errors.ts";
import { findImage } from "../../../toolchain/images/build.ts";
import { HELPER_LABEL, IDENTITY_FILE, STACK_LABEL } from "../../settings/names.ts";
import { PGBOUNCER_CONFIG_DIR, PGBOUNCER_SOCKET_DIR } from "../../servers/pgbouncer/ini.ts";
import { PGBOUNCER_PORT } from "../../settings/listeners.ts";
import { POSTGRES_CONFIG_DIR } from "../../servers/postgres/conf.ts";

import {
  ACTION_MS,
  archive,
  CURRENT_VERSION,
  engine,
  exec,
  hasFailed,
  inspect,
  isNotFound,
  lastLines,
  localSql,
  readArchive,
  readFile,
  within,
  type FileSpec,
} from "../../../toolchain/engine/containers.ts";
import { offeredCertificate } from "../../../database/handshake.ts";
import { pgbouncerConsole, reconnect } from "../../servers/pgbouncer/console.ts";
import { changedProperties, UNKNOWN, type Failure, type Reporter, type ResourceType } from "../resource.ts";
import { until } from "../../../base/retry.ts";
import { makerOf, TAKE_OVER_VARIABLE } from "../stack-identity.ts";

type Files = Record<string, FileSpec>;

const SERVER_CERTIFICATE = "tls/server.crt";
/** The pooler's own certificate, for its connections to PostgreSQL. */
const CLIENT_CERTIFICATE = "tls/client.crt";

/** Mounted where the image has it, because a new volume takes owner and mode from there. */
const MOUNT: Record<Inputs["service"], string> = {
  postgres: POSTGRES_CONFIG_DIR,
  pgbouncer: PGBOUNCER_CONFIG_DIR,
  maintenance: POSTGRES_CONFIG_DIR,
};

/** Inputs; see `volumeFiles`. */
interface Inputs {
  readonly volume: string;
  readonly image: string;
  readonly uid: number;
  readonly files: Files;
  readonly service: "postgres" | "pgbouncer" | "maintenance";
  readonly container: string;
  readonly restartKey: string;
  readonly host: string;
  readonly port: number;
  readonly furtherPorts?: readonly number[];
}

/** The service's image. Where it was pruned, its container still has it; without a container it is built. */
async function imageOf(docker: Docker, { image, container, service }: Inputs): Promise<string> {
  if (await findImage(docker, image)) return image;
  const info = await inspect(docker, container);
  if (info) return info.Image;
  const { ensureImage } = await import("../../../toolchain/images/ensure.ts"); // here, because it is seldom needed
  return (await ensureImage(service === "pgbouncer" ? "pgbouncer" : "postgres", { docker, report: () => {} })).tag;
}

/** A container of the service's own image that has the volume and is never started as a server. */
async function withHelper<T>(
  inputs: Inputs,
  command: string[],
  work: (helper: Docker.Container, docker: Docker) => Promise<T>,
): Promise<T> {
  const docker = engine();
  const name = `${inputs.volume}-files`;
  // A helper that a killed run left keeps the volume in use. It is the stack's, so that `down` finds it too.
  const [{ Labels }, image] = await Promise.all([
    within(`tell about volume ${inputs.volume}`, ACTION_MS, (options) =>
      docker.getVolume(inputs.volume).inspect(options),
    ),
    imageOf(docker, inputs),
    removeHelper(docker, name),
  ]);
  const stack = (Labels as Record<string, string> | null)?.[STACK_LABEL];
  const settings: Docker.ContainerCreateOptions = {
    name,
    Image: image,
    Entrypoint: command,
    Cmd: [],
    User: `${inputs.uid}:${inputs.uid}`,
    Labels: { [HELPER_LABEL]: inputs.volume, ...(stack === undefined ? {} : { [STACK_LABEL]: stack }) },
    HostConfig: {
      Binds: [`${inputs.volume}:${MOUNT[inputs.service]}`],
      NetworkMode: "none",
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
    },
  };
  const helper = await within(`make container ${name}`, ACTION_MS, (options) =>
    docker.createContainer({ ...settings, ...options }),
  );
  try {
    return await within(`write the files of volume ${inputs.volume}`, ACTION_MS, () => work(helper, docker));
  } finally {
    await removeHelper(docker, name);
  }
}

async function removeHelper(docker: Docker, name: string): Promise<void> {
  try {
    // Also when the user stops Pulumi.
    await docker.getContainer(name).remove({ force: true, v: true, abortSignal: AbortSignal.timeout(ACTION_MS) }); // v: volumes the image declares and nobody named
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/**
 * All files of one state lie in one folder, `.version-…`, and servers read them through links: `tls` is a link to
 * `.current/tls`, and `.current` one to the folder. Whatever changes, certificates and their keys among it, takes effect by
 * the one rename that replaces `.current`.
 */
const VERSION_PREFIX = ".version-";
const newVersion = () => `${VERSION_PREFIX}${Date.now().toString(36)}`;
const topLevel = (files: Files) => [...new Set(Object.keys(files).map((name) => name.split("/")[0] ?? name))];

/**
 * Keeps off a volume whose files another state wrote: a stack of the same name, of another user of the engine.
 *
 * @throws StateError unless the user said that the other state is lost
 */
async function refuseAnothersVolume(helper: Docker.Container, inputs: Inputs): Promise<void> {
  const mine = inputs.files[IDENTITY_FILE]?.content;
  if (mine === undefined || process.env[TAKE_OVER_VARIABLE] === "1") return;
  const found = await readFile(helper, `${MOUNT[inputs.service]}/${CURRENT_VERSION}/${IDENTITY_FILE}`);
  if (found === undefined || found === mine) return;
  throw new StateError(`Volume ${inputs.volume} belongs to another state; nothing in it has been changed.`, [
    {
      subject: inputs.volume,
      problem: `was made by ${makerOf(found)} for a stack of the same name`,
      remedy:
        "Choose another stack name; if that state is lost, run `aiwdb up` for this one with --reset-passwords --yes.",
    },
  ]);
}

/** First fill: nobody reads the files yet. */
async function fill(inputs: Inputs): Promise<void> {
  const version = newVersion();
  const links = Object.fromEntries(topLevel(inputs.files).map((name) => [name, `${CURRENT_VERSION}/${name}`]));
  await withHelper(inputs, ["true"], async (helper) => {
    await refuseAnothersVolume(helper, inputs);
    await helper.putArchive(
      archive(inputs.files, inputs.uid, `${version}/`, { ...links, [CURRENT_VERSION]: version }),
      { path: MOUNT[inputs.service] },
    );
  });
}

/**
 * Try the new configuration with the server's own program before the running one sees it. A wrong value would make a
 * restart fail, PostgreSQL's reload passes over it in silence, and PgBouncer's leaves everything behind the bad line, TLS
 * among it, at its default.
 */
const TRY: Record<Inputs["service"], (version: string) => string> = {
  // -C reads the whole file, prints one value and ends; it looks at no data folder.
  postgres: (version) =>
    `postgres -D /tmp -C port -c config_file=${POSTGRES_CONFIG_DIR}/${version}/postgresql.conf >/dev/null 2>/tmp/refused || refuse`,
  // It has no such mode: this one has no network, and is ended as soon as it listens.
  pgbouncer: (version) =>
    [
      `for ini in ${version}/pgbouncer*.ini; do`,
      `sed 's#${PGBOUNCER_CONFIG_DIR}/#&${version}/#g' "$ini" >/tmp/tried.ini`,
      `port=$(sed -n 's/^listen_port = //p' "$ini")`,
      "pgbouncer /tmp/tried.ini 2>/tmp/refused & tried=$!",
      `until [ -S ${PGBOUNCER_SOCKET_DIR}/.s.PGSQL.$port ]; do kill -0 $tried 2>/dev/null || refuse; sleep 0.02; done`,
      "kill -9 $tried",
      "done",
    ].join("\n"),
  maintenance: () => "",
};
const REFUSED = 9;

/**
 * The shell lines that put a version in force, in a folder that has it. A kill at any point leaves the old files or the
 * new ones, and what it left is swept by the next run.
 */
export function switchScript(version: string, names: readonly string[]): string {
  return [
    "sync -f .", // the files are on disk before anything points to them
    `ln -sfn ${version} .next`,
    `mv -fT .next ${CURRENT_VERSION}`, // a rename: the one moment
    // Volumes of older releases have files in these places. New names come once, when there is nothing they replace.
    ...names.map(
      (name) =>
        `[ -L '${name}' ] || { rm -rf '.old-${name}'; [ ! -e '${name}' ] || mv '${name}' '.old-${name}'; ln -sfn ${CURRENT_VERSION}/'${name}' '${name}'; rm -rf '.old-${name}'; }`,
    ),
    `find . -maxdepth 1 -name '${VERSION_PREFIX}*' ! -name ${version} -exec rm -rf {} +`,
    "find . -maxdepth 1 -xtype l -delete", // links of names that are no more
    "sync -f .",
  ].join("\n");
}

/**
 * Replaces files under a server that may be running: all are written beside the old ones first, tried, then put in force
 * at once, so that a full disk or a kill leaves either the old or the new ones, never a certificate without its key.
 */
async function replace(inputs: Inputs): Promise<void> {
  const version = newVersion();
  const script = [
    "set -eu",
    `cd ${MOUNT[inputs.service]}`,
    `refuse() { cat /tmp/refused >&2; rm -rf ${version}; exit ${REFUSED}; }`,
    TRY[inputs.service](version),
    switchScript(version, topLevel(inputs.files)),
  ].join("\n");
  await withHelper(inputs, ["sh", "-c", script], async (helper, docker) => {
    await refuseAnothersVolume(helper, inputs);
    await helper.putArchive(archive(inputs.files, inputs.uid, `${version}/`), { path: MOUNT[inputs.service] });
    await helper.start();
    const { StatusCode } = await helper.wait();
    if (StatusCode === REFUSED) {
      throw new StateError(
        `${inputs.container} refused its new settings; nothing has been changed:\n${await lastLines(docker, helper.id)}`,
      );
    }
    if (StatusCode !== 0) {
      throw new StateError(
        `The files of volume ${inputs.volume} could not be replaced: ${await lastLines(docker, helper.id)}`,
      );
    }
  });
}

interface Service {
  /** What the server would refuse in its files, before anything depends on it. */
  refused(docker: Docker, container: string): Promise<string>;
  /** Whether the files have a setting that the running server would take only at its next start. */
  needsRestart(docker: Docker, container: string, olds: Inputs, news: Inputs): Promise<boolean>;
  /** Makes the running server read its files again; returns what it refused. */
  reload(docker: Docker, container: string, files: Files): Promise<string>;
  /** After a reload: ends what was made with a certificate that is replaced. */
  retire?(docker: Docker, container: string, news: Inputs, report: Reporter): Promise<void>;
}

/** What the .ini files of PgBouncer's processes say. */
function pgbouncerProcesses(files: Files) {
  return Object.entries(files)
    .filter(([name]) => name.endsWith(".ini"))
    .map(([name, { content }]) => {
      const [databases = "", rest = ""] = content.split("\n[pgbouncer]\n");
      const settings = new Map(
        [...rest.matchAll(/^(\w[\w.]*) = (.*)$/gm)].map(([, key = "", value = ""]) => [key, value]),
      );
      return {
        name,
        port: settings.get("listen_port") ?? PGBOUNCER_PORT,
        settings,
        transactionEntries: [...databases.matchAll(/^(\w+) = .*pool_mode=transaction/gm)].map(
          ([, entry = ""]) => entry,
        ),
      };
    });
}

/** How long open transactions may keep a connection that was made with an old certificate before `up` goes on. */
const WAIT_CLOSE_SEC = 15;

const SERVICES: Record<Inputs["service"], Service> = {
  postgres: {
    // https://www.postgresql.org/docs/16/view-pg-file-settings.html: both views read the files as they are now.
    refused: (docker, container) =>
      localSql(
        docker,
        container,
        `select format('%s line %s: %s', file_name, line_number, error) from pg_hba_file_rules where error is not null
         union all
         select format('%s line %s, %s: %s', sourcefile, sourceline, name, error) from pg_file_settings
          where error is not null and error <> 'setting could not be applied'
            and not (name is null and error like 'parameter "%" cannot be changed without restarting the server')`,
      ),
    // The files have been tried, so that nothing but a start can be in the way. One that was taken out has no line that
    // could say so: the running server has it from a file, and no file has it.
    needsRestart: async (docker, container) =>
      (await localSql(
        docker,
        container,
        `select exists (select from pg_file_settings where error = 'setting could not be applied')
             or exists (
               select from pg_settings
                where context = 'postmaster' and source = 'configuration file'
                  and lower(name) not in (select lower(name) from pg_file_settings where name is not null)
             )`,
      )) === "t",
    async reload(docker, container) {
      await localSql(docker, container, "select pg_reload_conf();");
      return "";
    },
  },
  // Its psql reads the files anew at each run.
  maintenance: { refused: async () => "", needsRestart: async () => false, reload: async () => "" },
  pgbouncer: {
    refused: async () => "", // it has no way to ask; RELOAD itself says so
    // RELOAD passes over these in silence: only the console tells which they are.
    async needsRestart(docker, container, olds, news) {
      const [before, after] = [pgbouncerProcesses(olds.files), pgbouncerProcesses(news.files)];
      if (before.map(({ name }) => name).join() !== after.map(({ name }) => name).join()) return true;
      const changed = after.flatMap(({ settings: now }, index) => {
        const then = before[index]?.settings ?? new Map<string, string>();
        return [...new Set([...then.keys(), ...now.keys()])].filter((name) => then.get(name) !== now.get(name));
      });
      if (changed.length === 0) return false;
      const show = pgbouncerConsole(before[0]?.port ?? PGBOUNCER_PORT, "SHOW CONFIG", "-t");
      const { exitCode, stdout, stderr } = await exec(docker, container, show);
      // disable_pqexec, which earlier releases let through, takes the console away as well.
      if (stderr.includes("PQexec disallowed")) return true;
      if (exitCode !== 0) throw new StateError(`${container} does not tell its settings: ${stderr.trim()}`);
      // key|value|default|changeable
      const fixed = new Set(
        stdout
          .split("\n")
          .map((line) => line.split("|"))
          .filter((columns) => columns.at(-1) === "no")
          .map(([name]) => name),
      );
      return changed.some((name) => fixed.has(name));
    },
    async reload(docker, container, files) {
      for (const { port } of pgbouncerProcesses(files)) {
        const result = await exec(docker, container, pgbouncerConsole(port, "RELOAD"));
        if (result.exitCode !== 0) return result.stderr.trim();
      }
      // Server connections made with the old certificate end when they are released; nobody is cut off.
      const ports = pgbouncerProcesses(files).map(({ port }) => Number(port));
      const notDone = await reconnect(docker, { container, ports });
      if (notDone !== undefined)
        throw new StateError(
          `${container} reads its new settings, but did not renew its server connections: ${notDone}`,
        );
      return "";
    },
    // A client in session mode keeps its server connection until it leaves, so only transaction mode is waited for.
    async retire(docker, container, news, report) {
      const late = new Set<string>();
      const waits = pgbouncerProcesses(news.files).map(async ({ port, transactionEntries }) => {
        for (const database of transactionEntries) {
          const wait = ["timeout", String(WAIT_CLOSE_SEC), ...pgbouncerConsole(port, `WAIT_CLOSE ${database}`)];
          if ((await exec(docker, container, wait)).exitCode !== 0) late.add(database);
        }
      });
      await Promise.all(waits);
      if (late.size > 0)
        report.warn(
          `${[...late].join(", ")}: transactions that have been open for more than ${WAIT_CLOSE_SEC} s still use a server connection made with the old certificate; it ends with them`,
        );
    },
  },
};

/** The reply to a reload says nothing about certificates: only a handshake does. */
async function offersItsCertificate(inputs: Inputs, deadlineMs: number): Promise<boolean> {
  const info = await inspect(engine(), inputs.container);
  const bindings = Object.values((info?.HostConfig.PortBindings ?? {}) as Record<string, { HostPort: string }[]>);
  const published = new Set(bindings.flat().map(({ HostPort }) => Number(HostPort)));
  // A port that the container does not publish comes with the one that replaces it.
  const ports = [inputs.port, ...(inputs.furtherPorts ?? [])].filter((port) => published.has(port));
  return (await Promise.all(ports.map((port) => offersOn(port, inputs, deadlineMs)))).every(Boolean);
}

async function offersOn(port: number, inputs: Inputs, deadlineMs: number): Promise<boolean> {
  const certificate = inputs.files[SERVER_CERTIFICATE];
  if (!certificate) return true;
  const wanted = serialOf(certificate.content);
  const seen = await until(
    async () => {
      // A server that restarts does not answer. It is asked until the deadline.
      const offered = await offeredCertificate(inputs.host, port).catch(() => undefined);
      if (offered?.serialNumber === wanted) return true;
      return hasFailed(await inspect(engine(), inputs.container)) ? false : undefined;
    },
    { deadlineMs, everyMs: 100 },
  );
  return seen === true;
}

/** Waits as long as the container may take to end, and the engine to start it. */
async function restartContainer(docker: Docker, name: string): Promise<void> {
  const config = (await inspect(docker, name))?.Config as { StopTimeout?: number } | undefined;
  const stopSec = config?.StopTimeout ?? 10;
  await within(`restart container ${name}`, stopSec * 1_000 + ACTION_MS, (options) =>
    docker.getContainer(name).restart(options),
  );
}

async function applyToServer(olds: Inputs, news: Inputs, report: Reporter): Promise<void> {
  const docker = engine();
  const info = await inspect(docker, news.container);
  if (!info?.State.Running) return; // it reads the files when it starts
  const service = SERVICES[news.service];
  // One that the engine starts again and again, as with settings it can't start with, answers nothing.
  // Between two attempts it runs for a moment.
  const isDown = info.State.Restarting || (info.RestartCount > 0 && info.State.Health?.Status === "starting");
  const restart =
    isDown || olds.restartKey !== news.restartKey || (await service.needsRestart(docker, news.container, olds, news));
  let refused = isDown ? "" : await service.refused(docker, news.container);
  if (refused === "" && !restart) refused = await service.reload(docker, news.container, news.files);
  if (refused !== "") {
    await replace({ ...news, files: olds.files });
    await service.reload(docker, news.container, olds.files); // a refused reload may have taken a part of the new ones
    throw new StateError(
      `${news.container} refused its new settings; the old ones are in force and back in place:\n${refused}`,
    );
  }
  if (restart) {
    report.info(
      isDown
        ? `restarting ${news.container}, which did not stay up`
        : `restarting ${news.container}: a setting changed that it reads only at start`,
    );
    await restartContainer(docker, news.container);
  }
  if (await offersItsCertificate(news, restart ? 60_000 : 15_000)) {
    const isNew = olds.files[CLIENT_CERTIFICATE]?.content !== news.files[CLIENT_CERTIFICATE]?.content;
    if (!restart && isNew) await service.retire?.(docker, news.container, news, report);
    return;
  }
  if (!restart)
    throw new StateError(
      `${news.container} still offers its old certificate on ${news.host}:${news.port}; see its log.`,
    );
  const log = await lastLines(docker, news.container);
  await replace({ ...news, files: olds.files });
  await restartContainer(docker, news.container);
  throw new StateError(
    `${news.container} does not start with its new settings; the old ones are back in place. Its last lines:\n${log}`,
  );
}

/**
 * Pairs of certificate and key among the files that could not be used together. One that is in force already may have
 * expired: when everything was off until then, what replaces it must not be refused because of it.
 */
export function pairProblems(files: Files, inForce: Files = {}): Failure[] {
  const ca = files["tls/ca.crt"]?.content;
  return Object.keys(files)
    .filter((name) => name.endsWith(".key"))
    .flatMap((name) => {
      const keyPem = files[name]?.content ?? "";
      const certName = name.replace(/\.key$/, ".crt");
      const certPem = files[certName]?.content ?? "";
      if ([ca, keyPem, certPem].includes(UNKNOWN)) return [];
      const isInForce = [name, certName].every((each) => inForce[each]?.content === files[each]?.content);
      return certificateProblems({ certPem, keyPem }, ca ?? "", isInForce ? null : undefined).map((reason) => ({
        property: `files.${name}`,
        reason,
      }));
    });
}

/** What is in the volume; undefined if there is none. */
async function readFiles(inputs: Inputs): Promise<Record<string, string> | undefined> {
  const docker = engine();
  const folder = MOUNT[inputs.service];
  try {
    const info = await inspect(docker, inputs.container);
    if (info?.Mounts.some(({ Name, Destination }) => Name === inputs.volume && Destination === folder))
      return await readArchive(docker, info.Id, folder);
    return await withHelper(inputs, ["true"], (helper) => readArchive(docker, helper.id, folder));
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** Names of files that are not in the volume as the state has them. A volume that is gone has been noticed elsewhere. */
async function otherFiles(inputs: Inputs): Promise<string[]> {
  const found = await readFiles(inputs);
  if (found === undefined) return [];
  return Object.entries(inputs.files)
    .filter(([name, { content }]) => found[name] !== content)
    .map(([name]) => name);
}

/**
 * Files in a volume that a server reads: configuration and certificates. A container's own `uploads` would force its
 * replacement and do not work on a read-only root.
 *
 * Inputs: `volume`; `image`, whose user `uid` owns the files and whose server tries them, an unchanged file with another image too; `files` (secret; path to content and mode); `service` and
 * `container`, which is told to reload if it runs; `restartKey`: when it changes, the container is restarted instead;
 * `host`, `port` and `furtherPorts`, where the certificate in use is compared by a handshake.
 *
 * Pulumi compares with its state only, so `diff` looks into the volume: a state that was restored, or whose stack another one
 * took over meanwhile, has other certificates than the servers.
 */
export const volumeFiles: ResourceType = {
  async diff(olds, news, report) {
    const changed = changedProperties(olds, news, ["host", "port", "furtherPorts"]);
    const replaces = changed.filter((name) => name === "volume");
    const others = replaces.length > 0 ? [] : await otherFiles(olds as Inputs);
    if (others.length > 0)
      report.warn(`volume ${olds["volume"]} has other files than the state says: ${others.join(", ")}`);
    return { changed: others.length > 0 ? [...new Set([...changed, "files"])] : changed, replaces };
  },
  async create(inputs, report) {
    const wanted = inputs as Inputs;
    refuse(pairProblems(wanted.files));
    const info = await inspect(engine(), wanted.container);
    if (info?.State.Running) {
      // A run that was cut off, or a state that was lost, left the server running on other files.
      await replace(wanted);
      await applyToServer({ ...wanted, restartKey: "" }, wanted, report);
    } else {
      await fill(wanted);
    }
    return { id: wanted.volume };
  },
  async read(_id, state) {
    const found = await readFiles(state as Inputs);
    if (found === undefined) return undefined;
    const files = Object.fromEntries(
      Object.entries((state as Inputs).files).map(([name, spec]) => [name, { ...spec, content: found[name] ?? "" }]),
    );
    return { ...state, files };
  },
  async update(_id, olds, news, report) {
    refuse(pairProblems((news as Inputs).files, (olds as Inputs).files));
    await replace(news as Inputs);
    await applyToServer(olds as Inputs, news as Inputs, report);
  },
  // Nothing to delete: the files go with their volume.
};

function refuse(failures: readonly Failure[]): void {
  if (failures.length === 0) return;
  throw new StateError(
    "Certificates that cannot be used; nothing has been replaced:",
    failures.map(({ property, reason }) => ({ subject: property, problem: reason })),
  );
}
