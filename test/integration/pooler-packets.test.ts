import { randomBytes } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, inject, test } from "vitest";
import { connectionFor } from "../../stack/connections.ts";
import { clientConfig, query, startedAt, times } from "../helpers/connect.ts";

describe("malformed packets", () => {
  const own = connectionFor;
  const config = (): { host: string; port: number } => {
    const { host, port } = clientConfig("app_user", "transaction");
    return { host: host as string, port: port as number };
  };
  const startup = (parameters: Record<string, string>, version = 196_608): Buffer => {
    const body = Buffer.from(
      Object.entries(parameters)
        .map(([key, value]) => `${key}\0${value}\0`)
        .join("") + "\0",
    );
    const head = Buffer.alloc(8);
    head.writeInt32BE(8 + body.length, 0);
    head.writeInt32BE(version, 4);
    return Buffer.concat([head, body]);
  };
  const message = (type: string, body: Buffer, length = body.length + 4): Buffer => {
    const head = Buffer.alloc(5);
    head.write(type, 0, "latin1");
    head.writeInt32BE(length, 1);
    return Buffer.concat([head, body]);
  };
  /** Waits for an event, but not for ever: some packets are answered by silence. */
  const heard = async (socket: net.Socket, event: "data" | "close"): Promise<void> => {
    if (socket.destroyed) return;
    await Promise.race([once(socket, event), once(socket, "close"), sleep(250)]).catch(() => {});
  };
  const ended = async (socket: net.Socket): Promise<void> => {
    socket.on("error", () => {});
    await heard(socket, "close");
    socket.destroy();
  };

  /** A TLS connection past the handshake, as any holder of a certificate gets it. */
  async function secure(): Promise<tls.TLSSocket> {
    const { sslRootCert, sslCert, sslKey } = own(inject("stack").outputs, "app_user", "transaction");
    const plain = net.connect(config());
    await once(plain, "connect");
    plain.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]));
    await once(plain, "data");
    const socket = tls.connect({
      socket: plain,
      ca: readFileSync(sslRootCert),
      cert: readFileSync(sslCert),
      key: readFileSync(sslKey),
    });
    await once(socket, "secureConnect");
    return socket;
  }

  const stillServes = async () => {
    expect(await query("app_user", "transaction", "select 1 as one")).toEqual([{ one: 1 }]);
  };

  test("before TLS, 2,000 of them, leave the pooler alive", async () => {
    const before = await startedAt("pgbouncer");
    for (const _batch of times(8)) {
      await Promise.all(
        times(250).map(async (index) => {
          const socket = net.connect(config());
          socket.on("error", () => {});
          const packet =
            index % 5 === 0
              ? startup(
                  {
                    user: "app_user",
                    database: "ai_workflow_db",
                    options: randomBytes(40).toString("latin1").replaceAll("\0", "x"),
                  },
                  index % 2 ? 196_608 : 131_072,
                )
              : index % 5 === 1
                ? Buffer.concat([Buffer.from([0x7f, 0xff, 0xff, 0xff]), randomBytes(20)])
                : index % 5 === 2
                  ? Buffer.from([0, 0, 0, 0])
                  : randomBytes(1 + ((index * 7) % 300));
          socket.end(packet);
          await ended(socket);
        }),
      );
    }
    await stillServes();
    expect(await startedAt("pgbouncer")).toBe(before);
  });

  test("inside TLS, in start-up and in every step of SCRAM, 600 of them, leave the pooler alive", async () => {
    const before = await startedAt("pgbouncer");
    const nonce = "rOprNGfwEbeRWgbNEkqO";
    const initial = (text: Buffer, mechanism = "SCRAM-SHA-256", length = text.length): Buffer => {
      const size = Buffer.alloc(4);
      size.writeInt32BE(length);
      return message("p", Buffer.concat([Buffer.from(`${mechanism}\0`), size, text]));
    };
    const firsts = [
      () => initial(randomBytes(64)),
      () => initial(Buffer.from(`n,,n=,r=${nonce}`), "SCRAM-SHA-256-PLUS"),
      () => initial(Buffer.from(`y,,n=app_user,r=${nonce}`), "SCRAM-SHA-256", 2_147_483_647),
      () => initial(Buffer.from(`n,,n=app_user,r=${nonce}`), "SCRAM-SHA-256", -5),
      () => initial(Buffer.from(`n,,n=${"a".repeat(5_000)},r=${nonce}`)),
      () => initial(Buffer.from("n,,n=,r=")),
      () => initial(Buffer.from(`p=tls-server-end-point,,n=,r=${nonce}`)),
      () => initial(Buffer.from(`n,a=app_readonly,n=,r=${nonce}`)),
      () => message("p", randomBytes(30), 2_147_483_647),
      () => message("p", Buffer.alloc(0)),
      () => message("Q", Buffer.from("select 1\0")),
      () => randomBytes(500),
    ];
    const finals = [
      () => message("p", randomBytes(80)),
      () => message("p", Buffer.from("c=biws,r=,p=")),
      () => message("p", Buffer.from(`c=biws,r=${nonce},p=${"A".repeat(4_000)}`)),
      () => message("p", Buffer.from(`c=biws,r=${nonce}%hv,p=!!!!`)),
      () => message("p", Buffer.from(`c=eSws,r=${nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=`)),
    ];
    for (const batch of times(12)) {
      await Promise.all(
        times(50).map(async (index) => {
          const socket = await secure();
          socket.on("error", () => {});
          const round = batch * 50 + index;
          if (round % 4 === 0) {
            socket.write(
              round % 8 === 0
                ? randomBytes(200)
                : startup({ user: "app_user".repeat(40), database: "x".repeat(300), search_path: "evil" }),
            );
          } else {
            socket.write(startup({ user: "app_user", database: "ai_workflow_db" }));
            await heard(socket, "data");
            if (round % 2 === 0) {
              socket.write(firsts[round % firsts.length]?.() ?? "");
            } else {
              socket.write(initial(Buffer.from(`n,,n=,r=${nonce}`)));
              await heard(socket, "data");
              if (!socket.destroyed) socket.write(finals[round % finals.length]?.() ?? "");
            }
          }
          socket.end();
          await ended(socket);
        }),
      );
    }
    await stillServes();
    expect(await startedAt("pgbouncer")).toBe(before);
  });
});
