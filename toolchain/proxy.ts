/** Names of this machine. Programs compare the host that they connect to with these texts. */
const LOOPBACK = ["localhost", "127.0.0.1", "::1"];

/**
 * Variables that make programs reach this machine without a proxy. Pulumi's processes talk to each other by gRPC on
 * 127.0.0.1, and gRPC for Node asks the proxy of `https_proxy` and `http_proxy` for that too.
 *
 * The user's own exceptions stay. They are written without spaces after the commas, which gRPC does not take.
 *
 * @see https://github.com/grpc/grpc-node/blob/master/doc/environment_variables.md
 */
export function directLoopback(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const extended = (exceptions: string | undefined) => {
    const own = (exceptions ?? "").split(/[\s,]+/).filter((entry) => entry !== "");
    return [...new Set([...own, ...LOOPBACK])].join(",");
  };
  const general = extended(env["no_proxy"] || env["NO_PROXY"]);
  return {
    no_proxy: general,
    NO_PROXY: general,
    // Where it is set, gRPC reads no other.
    ...(env["no_grpc_proxy"] ? { no_grpc_proxy: extended(env["no_grpc_proxy"]) } : {}),
  };
}
