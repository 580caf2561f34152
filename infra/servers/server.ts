import type Docker from "dockerode";
import type { FileSpec } from "../../toolchain/engine/archives.ts";
import type { ImageKind } from "../../toolchain/images/tag.ts";
import type { StackConfig } from "../settings/table.ts";

/** A server's files, by path below its folder. */
export type Files = Readonly<Record<string, FileSpec>>;

/** The certificate that a server shows to its clients, where it has one. */
export const SERVER_CERTIFICATE = "tls/server.crt";
/** The certificate by which it logs in at another server, where it has one. */
export const CLIENT_CERTIFICATE = "tls/client.crt";

/** One server of a stack, described. infra/servers/registry.ts has all of them by name. */
export interface Server {
  readonly image: ImageKind;
  /** Account in the image that the server runs as; the files are its own. */
  readonly uid: number;
  /** Where the container has the volume with the files. The image has the folder, whose owner a new volume takes. */
  readonly folder: string;
  /** Files that follow from the settings alone: text by path. Its component adds certificates and passwords. */
  rendered(config: StackConfig): Readonly<Record<string, string>>;
  /** What the engine runs to see whether it is healthy, in the form of Docker's HEALTHCHECK. */
  healthCheck(config: StackConfig): readonly string[];
  /** How it takes new files while it runs. Absent: its program reads them anew each time it needs them. */
  readonly live?: LiveServer;
}

interface LiveServer {
  /**
   * Path of a script that tries files with the server's own program, before the running server sees them. It runs in a
   * container of the image, in the server's folder; `$1` is the version's folder. It fails and prints the reason where
   * the server would refuse the files.
   */
  readonly tryScript: string;
  /**
   * What the running server would refuse in its files as they are now. Empty where it would refuse nothing, or cannot
   * say.
   */
  refused(server: RunningServer): Promise<string>;
  /** Whether the files have a change that the running server would take only at its next start. */
  needsRestart(server: RunningServer, olds: Configuration, news: Configuration): Promise<boolean>;
  /** Has the running server read its files again; returns what it refused. */
  reload(server: RunningServer, files: Files): Promise<string>;
  /** After a reload with another client certificate: ends the connections that were made with the old one. */
  retire?(server: RunningServer, files: Files, warn: (line: string) => void): Promise<void>;
}

/** What a server reads. */
export interface Configuration {
  readonly files: Files;
  /** The package's own settings that the server reads only at its start, as text. Equal text: they need no restart. */
  readonly restartKey: string;
}

/** A server's container, while it runs. */
export interface RunningServer {
  readonly docker: Docker;
  readonly container: string;
  readonly signal: AbortSignal;
}
