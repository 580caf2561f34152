/**
 * Lets a program that throws end at once instead of after a minute, in which Pulumi goes on creating resources.
 *
 * Pulumi shows an error by `util.inspect` with colours. Its SDK maps traces to sources that are not there, such as
 * `node_modules/@pulumi/resource.ts`; Node looks in vain for the end of a package's name in such a line, for ever, until the text
 * has become as long as a text may be (`markNodeModules` in lib/internal/util/inspect.js, Node 22). A path of the same meaning
 * has the separator that Node looks for.
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
