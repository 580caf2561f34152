import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** A bucket in which Pulumi can keep a state. It is in the memory of this process. */
export interface ObjectStore {
  /** For PULUMI_BACKEND_URL. */
  readonly url: string;
  /** Credentials, which the server does not check. */
  readonly env: Readonly<Record<string, string>>;
  put(key: string, content: string): void;
  close(): Promise<void>;
}

const BUCKET = "states";

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}

/** The body without the frames and trailers in which the SDK sends checksums. */
function unframe(body: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < body.length;) {
    const end = body.indexOf("\r\n", at);
    const size = Number.parseInt(body.toString("latin1", at, end), 16);
    if (!(size > 0)) break;
    parts.push(body.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
  return Buffer.concat(parts);
}

/**
 * Starts as much of S3 as Pulumi's backend uses: put, get, head, copy, delete and list of objects in one bucket.
 *
 * @see https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
 */
export async function startObjectStore(): Promise<ObjectStore> {
  const objects = new Map<string, Buffer>();
  const entity = (content: Buffer) => ({
    ETag: `"${createHash("md5").update(content).digest("hex")}"`,
    "Last-Modified": new Date().toUTCString(),
  });
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const url = new URL(request.url ?? "/", "http://store");
      const [, , ...rest] = decodeURIComponent(url.pathname).split("/");
      const key = rest.join("/");
      const xml = (status: number, text: string) =>
        response.writeHead(status, { "Content-Type": "application/xml" }).end(`<?xml version="1.0"?>${text}`);
      const found = objects.get(key);
      const absent = () => xml(404, "<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>");
      switch (request.method) {
        case "GET": {
          if (key === "") {
            const prefix = url.searchParams.get("prefix") ?? "";
            const delimiter = url.searchParams.get("delimiter") ?? "";
            const folders = new Set<string>();
            const contents = [...objects]
              .toSorted(([a], [b]) => (a < b ? -1 : 1))
              .flatMap(([name, content]) => {
                if (!name.startsWith(prefix)) return [];
                const end = delimiter === "" ? -1 : name.indexOf(delimiter, prefix.length);
                if (end >= 0) return folders.add(name.slice(0, end + delimiter.length)) && [];
                return `<Contents><Key>${escapeXml(name)}</Key><LastModified>${new Date().toISOString()}</LastModified><ETag>${escapeXml(entity(content).ETag)}</ETag><Size>${content.length}</Size></Contents>`;
              });
            const common = [...folders].map(
              (folder) => `<CommonPrefixes><Prefix>${escapeXml(folder)}</Prefix></CommonPrefixes>`,
            );
            return xml(
              200,
              `<ListBucketResult><Name>${BUCKET}</Name><IsTruncated>false</IsTruncated><KeyCount>${contents.length + common.length}</KeyCount>${contents.join("")}${common.join("")}</ListBucketResult>`,
            );
          }
          return found ? response.writeHead(200, entity(found)).end(found) : absent();
        }
        case "HEAD":
          return response
            .writeHead(found ? 200 : 404, found && { ...entity(found), "Content-Length": found.length })
            .end();
        case "PUT": {
          const source = request.headers["x-amz-copy-source"];
          if (source !== undefined) {
            const name = decodeURIComponent(String(source))
              .replace(/^\//, "")
              .slice(BUCKET.length + 1);
            const original = objects.get(name);
            if (original === undefined) return absent();
            objects.set(key, original);
            return xml(200, `<CopyObjectResult><ETag>${escapeXml(entity(original).ETag)}</ETag></CopyObjectResult>`);
          }
          const body = Buffer.concat(chunks);
          const framed = String(request.headers["content-encoding"] ?? "").includes("aws-chunked");
          const content = framed ? unframe(body) : body;
          objects.set(key, content);
          return response.writeHead(200, entity(content)).end();
        }
        case "DELETE":
          objects.delete(key);
          return response.writeHead(204).end();
        default:
          return response.writeHead(501).end();
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const endpoint = encodeURIComponent(`http://127.0.0.1:${port}`);
  return {
    url: `s3://${BUCKET}?region=us-east-1&endpoint=${endpoint}&s3ForcePathStyle=true`,
    env: { AWS_ACCESS_KEY_ID: "any", AWS_SECRET_ACCESS_KEY: "any", AWS_REGION: "us-east-1" },
    put: (key, content) => void objects.set(key, Buffer.from(content)),
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
