import net from "node:net";
import tls from "node:tls";

/**
 * PostgreSQL's request to speak TLS, which PgBouncer knows too.
 *
 * @see https://www.postgresql.org/docs/16/protocol-message-formats.html
 */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);

/**
 * The certificate that a server offers. It is read by a TLS handshake, and nobody logs in.
 *
 * @throws Error when there is no server, no TLS or no answer within `timeoutMs`
 */
export function offeredCertificate(host: string, port: number, timeoutMs = 3_000): Promise<tls.PeerCertificate> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host, port });
    const timer = setTimeout(() => fail(new Error(`${host}:${port} did not answer within ${timeoutMs} ms`)), timeoutMs);
    const fail = (error: Error) => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    socket.once("error", fail);
    socket.once("close", () => fail(new Error(`${host}:${port} closed the connection`)));
    socket.once("connect", () => socket.write(SSL_REQUEST));
    socket.once("data", (answer) => {
      if (answer.toString("latin1", 0, 1) !== "S") return fail(new Error(`${host}:${port} refuses TLS`));
      // This asks which certificate is in use, not whether to trust it. Each login verifies it.
      const secure = tls.connect({ socket, rejectUnauthorized: false });
      secure.once("error", fail);
      secure.once("secureConnect", () => {
        clearTimeout(timer);
        resolve(secure.getPeerCertificate());
        secure.destroy();
      });
    });
  });
}
