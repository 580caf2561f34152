import { createHmac, randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { scramSecret } from "../../database/scram.ts";
import { clientProof, proves } from "../helpers/scram.ts";

describe("a SCRAM secret", () => {
  test("has PostgreSQL's format and the keys of RFC 7677's example", () => {
    // https://www.postgresql.org/docs/16/catalog-pg-authid.html
    expect(scramSecret("pencil", 4_096, Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64"))).toBe(
      "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    );
  });

  test("accepts the proof of RFC 7677's exchange, and the server's signature follows from it", () => {
    const secret = scramSecret("pencil", 4_096, Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64"));
    const authMessage =
      "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    expect(proves(secret, authMessage, Buffer.from("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "base64"))).toBe(
      true,
    );
    const serverKey = Buffer.from(secret.split(":").at(-1) ?? "", "base64");
    expect(createHmac("sha256", serverKey).update(authMessage).digest("base64")).toBe(
      "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    );
  });

  test("accepts a client that knows the password and refuses one that does not", () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 1, unit: "grapheme-ascii" }),
        fc.string({ minLength: 1, unit: "grapheme-ascii" }),
        (right, guess) => {
          const salt = randomBytes(16);
          const secret = scramSecret(right, 64, salt);
          expect(proves(secret, "message", clientProof(right, salt, 64, "message"))).toBe(true);
          expect(proves(secret, "message", clientProof(guess, salt, 64, "message"))).toBe(guess === right);
        },
      ),
      { numRuns: 50 },
    );
  });

  test("has another salt each time and shows nothing of the password", () => {
    const secrets = [scramSecret("tr0ub4dor"), scramSecret("tr0ub4dor")];
    expect(secrets[0]).not.toBe(secrets[1]);
    for (const secret of secrets) {
      expect(secret).toMatch(/^SCRAM-SHA-256\$4096:[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$/);
      expect(secret).not.toContain("tr0ub4dor");
    }
  });
});
