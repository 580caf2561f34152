import { expect, test } from "vitest";
import { directLoopback } from "../../toolchain/proxy.ts";

const LOOPBACK = "localhost,127.0.0.1,::1";

test.each([
  ["without exceptions of the user's", {}, { no_proxy: LOOPBACK, NO_PROXY: LOOPBACK }],
  [
    "beside the user's, however they are written",
    { no_proxy: "example.org, localhost" },
    { no_proxy: "example.org,localhost,127.0.0.1,::1", NO_PROXY: "example.org,localhost,127.0.0.1,::1" },
  ],
  [
    "where only the capitals are set",
    { NO_PROXY: "example.org" },
    { no_proxy: `example.org,${LOOPBACK}`, NO_PROXY: `example.org,${LOOPBACK}` },
  ],
  [
    "where gRPC has exceptions of its own",
    { no_grpc_proxy: "grpc.example.org" },
    { no_proxy: LOOPBACK, NO_PROXY: LOOPBACK, no_grpc_proxy: `grpc.example.org,${LOOPBACK}` },
  ],
])("this machine is reached without a proxy, %s", (_where, env, expected) => {
  expect(directLoopback(env)).toEqual(expected);
});
