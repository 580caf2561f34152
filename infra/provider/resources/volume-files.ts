import { StateError } from "../../../base/errors.ts";
import { certificateProblems } from "../../../certs/verify.ts";
import { engine, inspect } from "../../../toolchain/engine/containers.ts";
import { SERVERS, type ServerName } from "../../servers/registry.ts";
import type { Files } from "../../servers/server.ts";
import { changedProperties, UNKNOWN, type Failure, type Operation, type ResourceType } from "../resource.ts";
import { takeNewFiles } from "../running-server.ts";
import { refuseAnothersVolume } from "../stack-identity.ts";
import { readVolume, type MountedVolume } from "../volumes/helper.ts";
import { fill, readCurrent, replace, type VersionedVolume } from "../volumes/versions.ts";

export interface VolumeFilesInputs {
  readonly volume: string;
  /** Tag of the image whose server tries the files. With another image, unchanged files are tried again. */
  readonly image: string;
  /** Who the files belong to inside the container. */
  readonly uid: number;
  /** Secret. */
  readonly files: Files;
  /** Which server reads them. */
  readonly service: ServerName;
  /** Container that is told to reload, if it runs. */
  readonly container: string;
  /** When it changes, the container is restarted instead. */
  readonly restartKey: string;
  /** Where the certificate in use is compared by a handshake. */
  readonly host: string;
  readonly port: number;
  /** Of further processes that show the same certificate. */
  readonly furtherPorts?: readonly number[];
}

function mounted({ volume, container, service, image }: VolumeFilesInputs): MountedVolume {
  const server = SERVERS[service];
  return { volume, container, folder: server.folder, image: server.image, tag: image };
}

function versioned(inputs: VolumeFilesInputs, operation: Operation): VersionedVolume {
  const { uid, files } = inputs;
  const at = mounted(inputs);
  return { ...at, uid, guard: (helper) => refuseAnothersVolume(helper, at, files, operation) };
}

const put = (inputs: VolumeFilesInputs, operation: Operation): Promise<void> =>
  replace(
    { docker: engine(), signal: operation.signal },
    versioned(inputs, operation),
    inputs.files,
    SERVERS[inputs.service].live?.tryScript,
  );

const take = (olds: VolumeFilesInputs, news: VolumeFilesInputs, operation: Operation): Promise<void> =>
  takeNewFiles({
    server: SERVERS[news.service],
    at: { docker: engine(), container: news.container, signal: operation.signal },
    shown: news,
    olds,
    news,
    putBack: () => put({ ...news, files: olds.files }, operation),
    report: operation.report,
  });

/**
 * Pairs of certificate and key that cannot be used together. A pair that is in force already may have expired: its
 * replacement must not be refused because of it.
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

function refuse(failures: readonly Failure[]): void {
  if (failures.length === 0) return;
  throw new StateError(
    "Certificates that cannot be used; nothing has been replaced:",
    failures.map(({ property, reason }) => ({ subject: property, problem: reason })),
  );
}

/** What is in the volume; undefined if there is none. */
function readFiles(inputs: VolumeFilesInputs, signal: AbortSignal): Promise<Record<string, string> | undefined> {
  const at = mounted(inputs);
  return readVolume({ docker: engine(), signal }, at, (container) => readCurrent(container, at.folder, signal));
}

/** Names of files that differ between the volume and the state. A volume that is gone is not reported here. */
async function otherFiles(inputs: VolumeFilesInputs, signal: AbortSignal): Promise<string[]> {
  const found = await readFiles(inputs, signal);
  if (found === undefined) return [];
  return Object.entries(inputs.files)
    .filter(([name, { content }]) => found[name] !== content)
    .map(([name]) => name);
}

/**
 * Files in a volume that a server reads: configuration and certificates. A container's own `uploads` would force its
 * replacement, and do not work on a read-only root.
 *
 * Pulumi compares inputs with its state only. `diff` looks into the volume as well: after a state was restored, or
 * another state took the stack over, the servers have other certificates than the state.
 */
export const volumeFiles: ResourceType<VolumeFilesInputs> = {
  async diff(olds, news, { report, signal }) {
    const changed = changedProperties(olds, news, ["host", "port", "furtherPorts"]);
    const replaces = changed.filter((name) => name === "volume");
    const others = replaces.length > 0 ? [] : await otherFiles(olds, signal);
    if (others.length > 0)
      report.warn(`volume ${olds.volume} has other files than the state says: ${others.join(", ")}`);
    return { changed: others.length > 0 ? [...new Set([...changed, "files"])] : changed, replaces };
  },
  async create(inputs, operation) {
    refuse(pairProblems(inputs.files));
    const docker = engine();
    const info = await inspect(docker, inputs.container, operation.signal);
    if (info?.State.Running) {
      // After a run that was cut off, or with a lost state, the server runs with other files.
      await put(inputs, operation);
      await take({ ...inputs, restartKey: "" }, inputs, operation);
    } else {
      await fill({ docker, signal: operation.signal }, versioned(inputs, operation), inputs.files);
    }
    return { id: inputs.volume, outputs: {} };
  },
  async read(_id, state, { signal }) {
    const found = await readFiles(state, signal);
    if (found === undefined) return undefined;
    const files = Object.fromEntries(
      Object.entries(state.files).map(([name, spec]) => [name, { ...spec, content: found[name] ?? "" }]),
    );
    return { ...state, files };
  },
  async update(_id, olds, news, operation) {
    refuse(pairProblems(news.files, olds.files));
    await put(news, operation);
    await take(olds, news, operation);
  },
  // Nothing to delete: the files go with their volume.
};
