/**
 * Makes a program that throws end at once. Without it, Pulumi goes on creating resources for a minute.
 *
 * Pulumi shows an error by `util.inspect` with colours. Its SDK maps traces to sources that are not there, such as
 * `node_modules/@pulumi/resource.ts`. In such a line Node searches for the end of a package's name (`markNodeModules`
 * in lib/internal/util/inspect.js, Node 22). It finds none, and makes the text longer until that fails. A path of the
 * same meaning has the separator that Node searches for.
 */
export function keepTracesReadable(): void {
  const prepare = Error.prepareStackTrace;
  if (typeof prepare !== "function") return;
  Error.prepareStackTrace = (error, sites) => {
    const trace: unknown = prepare(error, sites);
    return typeof trace === "string" ? withPackageNames(trace) : trace;
  };
}

/** Writes `node_modules/@scope/file` as `node_modules/@scope/./file`. */
export function withPackageNames(trace: string): string {
  return trace.replaceAll(/(node_modules([\\/])@[^\\/\s]+[\\/])(?=[^\\/\s]+$)/gm, "$1.$2");
}
