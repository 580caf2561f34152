import { expect, test } from "vitest";
import { poolOf } from "../../stack/status/pools.ts";

test("counts a pool's server connections that wait for their check as idle", () => {
  const row = {
    database: "ai_workflow_db",
    user: "app_user",
    pool_mode: "transaction",
    cl_active: "1",
    cl_waiting: "2",
  };
  expect(poolOf({ ...row, sv_active: "3", sv_idle: "4", sv_used: "5" })).toEqual({
    database: "ai_workflow_db",
    role: "app_user",
    mode: "transaction",
    clientsActive: 1,
    clientsWaiting: 2,
    serversActive: 3,
    serversIdle: 9,
  });
});
